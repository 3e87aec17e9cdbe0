// What a page owes to everybody, measured in the page; runs as a function body and returns what is wrong.

const problems = [];
const visible = (node) => node.checkVisibility({ visibilityProperty: true, opacityProperty: true });
const all = (selector) => [...document.querySelectorAll(selector)].filter(visible);

const channels = (colour) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data;
};
const luminance = (colour) => {
  const [r, g, b] = [...channels(colour)].slice(0, 3).map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (channels(colour)[3] === 255) return colour;
  }
  return "white";
};
const says = (node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());

for (const node of all("body *").filter((node) => says(node) && !node.closest("svg, .said, [aria-busy]"))) {
  const style = getComputedStyle(node);
  const size = parseFloat(style.fontSize);
  const needed = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
  const found = contrast(style.color, behind(node));
  if (found < needed) problems.push(`contrast ${found.toFixed(2)} of ${node.tagName}.${node.className} "${node.textContent.trim().slice(0, 30)}"`);
}

const probe = document.body.appendChild(document.createElement("i"));
const token = (name) => {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
};
for (const text of ["ink", "soft", "accent", "up", "down"]) {
  for (const ground of ["paper", "raised", "wash"]) {
    const found = contrast(token(text), token(ground));
    if (found < 4.5) problems.push(`contrast ${found.toFixed(2)} of --${text} on --${ground}`);
  }
}
for (const shape of ["collaborative", "content", "graph", "context", "cold_start", "search", "adapter", "pattern", "exploration", "edge", "accent"]) {
  const found = contrast(token(shape), token("paper"));
  if (found < 3) problems.push(`contrast ${found.toFixed(2)} of --${shape} on --paper`);
}
probe.remove();

const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
problems.push(...ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `the id ${id} twice`));
for (const attribute of ["aria-labelledby", "for"]) {
  for (const node of document.querySelectorAll(`[${attribute}]`)) {
    if (!document.getElementById(node.getAttribute(attribute))) problems.push(`${attribute} leads nowhere: ${node.outerHTML.slice(0, 80)}`);
  }
}

const levels = all("h1, h2, h3").map((node) => Number(node.tagName[1]));
if (levels.filter((level) => level === 1).length !== 1) problems.push("not exactly one h1");
levels.forEach((level, at) => level > (levels[at - 1] ?? 0) + 1 && problems.push(`a heading h${level} after h${levels[at - 1]}`));
for (const landmark of ["header", "main", "nav"]) if (all(landmark).length !== 1) problems.push(`not exactly one ${landmark}`);
if (!document.documentElement.lang) problems.push("no language");

for (const node of all("button, input:not([type=checkbox]), select, a[href]:not(.skip)")) {
  const { width, height } = node.getBoundingClientRect();
  if (Math.min(width, height) < 20) problems.push(`a target of ${Math.round(width)} x ${Math.round(height)}: ${node.outerHTML.slice(0, 80)}`);
}

const { scrollWidth, clientWidth } = document.documentElement;
if (scrollWidth > clientWidth) problems.push(`${scrollWidth} pixels wide on ${clientWidth}`);
return problems;
