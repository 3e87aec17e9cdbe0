// The few things every part of the page does to it. Text goes in as text: nothing here reads HTML.

export const find = (id) => document.getElementById(id);

/** An element; attributes by name, children as nodes or text. */
export function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

export function show(id, visible = true) {
  find(id).hidden = !visible;
}

const SAID_MS = 7000; // long enough to read; what moved stays written above the rows
let silence = 0;
let said = "";

/** Say something to eyes and ears; the same sentence twice is said twice. */
export function announce(text) {
  const place = find("announcer");
  said = text;
  clearTimeout(silence);
  place.textContent = "";
  setTimeout(() => (place.textContent = text), 30);
  silence = setTimeout(() => (place.textContent = ""), SAID_MS);
}

/** What was said while a dialog hid the page from screen readers. */
export function announceAgain() {
  if (said && find("announcer").textContent) announce(said);
}

export function showProblem(problem) {
  if (!problem.remedy) console.error(problem); // a mistake of this page
  const what = make("strong", {}, problem.remedy ? problem.message : "Something went wrong in this page.");
  const close = make("button", { type: "button", "aria-label": "Dismiss" }, "✕");
  close.addEventListener("click", clearProblem);
  find("problem").replaceChildren(make("span", {}, what, " ", ...withCode(problem.remedy ?? "Reload it and try again.")), close);
  show("problem");
}

/** Text as nodes, with what stands between backticks as code. */
export function withCode(text) {
  return text.split("`").map((part, at) => (at % 2 ? make("code", {}, part) : part));
}

export function clearProblem() {
  show("problem", false);
}

export const percent = (share) => `${Math.round(100 * share)} %`;
export const decimal = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));

/** The button that turns the page dark or light; until it is used the system decides. */
export function wireTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const tell = () => find("theme").setAttribute("aria-pressed", isDark());
  dark.addEventListener("change", tell);
  find("theme").addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("theme", theme);
    tell();
  });
  tell();
}
