// A poster for a title that has none: colour from its first genre, form from its id, initials on top.

const HUES = {
  action: 12, adventure: 32, animation: 46, biography: 24, comedy: 52, crime: 352, documentary: 190, drama: 262,
  family: 88, fantasy: 286, history: 36, horror: 358, music: 318, musical: 322, mystery: 232, romance: 338,
  "science fiction": 208, sport: 140, thriller: 172, war: 74, western: 28,
};
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 60;
const HEIGHT = 84;

export function poster(id, facts) {
  const random = randomOf(id);
  const genre = facts.genres[0] ?? "";
  const hue = ((HUES[genre] ?? hash(genre || id) % 360) + random() * 16 - 8 + 360) % 360;
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "poster", "aria-hidden": "true" });
  svg.append(
    make("rect", { width: WIDTH, height: HEIGHT, fill: `hsl(${hue} 42% 26%)` }),
    ...forms(random, hue),
    make("rect", { y: HEIGHT - 34, width: WIDTH, height: 34, fill: `hsl(${hue} 48% 15%)`, opacity: 0.72 }),
    label(initials(facts.title)),
  );
  return svg;
}

function forms(random, hue) {
  const fill = (light, alpha) => ({ fill: `hsl(${(hue + random() * 50 - 25 + 360) % 360} 58% ${light}% / ${alpha})` });
  const [x, y] = [random() * WIDTH, random() * HEIGHT * 0.6];
  const kinds = [
    () => [0, 1, 2].map((n) => make("circle", { cx: x, cy: y, r: 34 - n * 10, ...fill(38 + n * 12, 0.75) })),
    () => [0, 1, 2, 3].map((n) => make("rect", { x: -20, y: n * 17 + y / 4, width: 110, height: 8, transform: `rotate(${-24 + x / 2} 30 30)`, ...fill(36 + n * 8, 0.8) })),
    () => [0, 1, 2].map((n) => make("path", { d: `M${-10 + n * 12} ${HEIGHT} L${18 + n * 14} ${10 + y / 3 + n * 12} L${50 + n * 16} ${HEIGHT} Z`, ...fill(34 + n * 11, 0.85) })),
    () => [make("circle", { cx: WIDTH / 2, cy: 28 + y / 5, r: 17, ...fill(62, 0.9) }), ...[0, 1, 2].map((n) => make("path", { d: `M0 ${44 + n * 9} q15 ${-8 - n} 30 0 t30 0 V${HEIGHT} H0 Z`, ...fill(40 - n * 7, 0.9) }))],
    () => [0, 1, 2, 3, 4].map((n) => make("rect", { x: n * 12.5, y: random() * 46, width: 9, height: HEIGHT, ...fill(32 + n * 6, 0.85) })),
  ];
  return kinds[Math.floor(random() * kinds.length)]();
}

function label(text) {
  const node = make("text", { x: 6, y: HEIGHT - 9, class: "initials" });
  node.textContent = text;
  return node;
}

function initials(title) {
  const words = title.replace(/^(the|a|an)\s+/i, "").split(/[\s:–-]+/).filter((word) => /^[\p{L}\p{N}]/u.test(word));
  return words.slice(0, 3).map((word) => (/^\d+$/.test(word) ? word : [...word][0].toUpperCase())).join("").slice(0, 4);
}

function make(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function hash(text) {
  let value = 2166136261;
  for (const character of text) value = Math.imul(value ^ character.codePointAt(0), 16777619);
  return value >>> 0;
}

/** Numbers in [0, 1) that are the same for the same text (mulberry32 seeded with FNV-1a). */
function randomOf(text) {
  let state = hash(text);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
