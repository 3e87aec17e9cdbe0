// Before the page is painted: the theme that was chosen last; without a choice the system's preference holds.
const chosen = localStorage.getItem("theme");
if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
