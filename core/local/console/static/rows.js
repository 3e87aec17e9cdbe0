// The ranked titles: rows that keep their identity, so that what moves is seen to move.

import { PARTS, nameOf, signed } from "./compare.js";
import { find, make } from "./page.js";
import { poster } from "./poster.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");
const KINDS = { movie: "film", series: "series", episode: "episode" };

export const factsLine = (facts) =>
  [facts.year, KINDS[facts.type], facts.genres.slice(0, 3).join(", ")].filter(Boolean).join(" · ");

/** Show `items`; moved: what compare() returned, or null for a first answer. */
export function showRows(items, factsOf, moved) {
  const list = find("rows");
  const focus = rememberFocus(list);
  const tops = new Map([...list.children].map((row) => [row.dataset.id, row.getBoundingClientRect().top]));
  const rows = new Map([...list.children].map((row) => [row.dataset.id, row]));
  list.replaceChildren(
    ...items.map((item, index) => {
      const row = rows.get(item.content_id) ?? newRow(item, factsOf(item.content_id));
      update(row, item, index + 1, moved?.rows.get(item.content_id));
      return row;
    }),
  );
  if (moved) animate(list, tops);
  restoreFocus(list, focus);
}

function newRow(item, facts) {
  const row = find("row").content.firstElementChild.cloneNode(true);
  row.dataset.id = item.content_id;
  row.querySelector(".title").textContent = item.title;
  row.querySelector(".facts-line").textContent = factsLine(facts);
  row.querySelector(".art").append(poster(item.content_id, facts));
  for (const button of row.querySelectorAll(".actions button")) {
    button.setAttribute("aria-label", `${button.textContent.trim()}: ${item.title}`);
  }
  const stars = row.querySelector(".stars");
  stars.setAttribute("aria-label", `Stars for ${item.title}`);
  for (const count of [1, 2, 3, 4, 5]) {
    const label = `${count} ${count === 1 ? "star" : "stars"} for ${item.title}`;
    stars.append(make("button", { type: "button", "data-act": "stars", "data-stars": count, "aria-label": label }, "★"));
  }
  return row;
}

function update(row, item, place, moved) {
  row.querySelector(".place").textContent = place;
  row.querySelector(".reason").textContent = item.explanation;
  row.querySelector(".score").textContent = item.confidence_score.toFixed(2);
  row.querySelector(".bar").replaceWith(bar(item));
  row.dataset.moved = moved?.kind ?? "";
  const mark = row.querySelector(".move");
  mark.textContent = moved ? markOf(moved) : "";
  mark.setAttribute("aria-label", moved ? spoken(moved) : "");
  mark.setAttribute("role", "img");
  mark.hidden = !moved || moved.kind === "same";
  const why = row.querySelector(".why");
  why.textContent = moved?.why ?? "";
  row.removeAttribute("aria-busy");
  openStars(row, false);
}

const markOf = ({ kind, was, place }) =>
  ({ new: "new", up: `▲ ${was - place}`, down: `▼ ${place - was}`, same: "" })[kind];

const spoken = ({ kind, was, place }) =>
  ({ new: "new here", up: `up ${was - place} from ${was}`, down: `down ${place - was} from ${was}`, same: "" })[kind];

/** [[part, value]] in the order of PARTS; one that has no name there comes last. */
export function partsOf({ score_parts: values }) {
  const names = [...new Set([...Object.keys(PARTS), ...Object.keys(values)])];
  return names.filter((part) => values[part]).map((part) => [part, values[part]]);
}

/** A score as a stacked bar: what was given in colours, and what the adapter or patterns took away, hatched. */
export function bar(item) {
  const parts = partsOf(item);
  const said = parts.map(([part, value]) => `${nameOf(part)} ${value < 0 ? signed(value) : value.toFixed(2)}`);
  const label = `Score ${item.confidence_score.toFixed(2)}: ${said.join(", ")}`;
  const node = make("div", { class: "bar", role: "img", "aria-label": label });
  for (const [part, value] of parts.filter(([, value]) => value > 0)) node.append(segment(part, value, `${nameOf(part)} ${value.toFixed(3)}`));
  const taken = parts.filter(([, value]) => value < 0);
  let end = parts.reduce((sum, [, value]) => sum + Math.max(value, 0), 0);
  for (const [part, value] of taken) {
    const cut = segment(part, -value, `${nameOf(part)} ${signed(value)}`);
    cut.classList.add("taken");
    end += value;
    cut.style.insetInlineStart = `${100 * Math.max(end, 0)}%`;
    node.append(cut);
  }
  return node;
}

function segment(part, share, title) {
  const node = make("span", { "data-part": part, title });
  node.style.width = `${100 * share}%`;
  return node;
}

export function showLegend(used) {
  const entries = Object.entries(PARTS).filter(([part]) => used.has(part));
  find("legend").replaceChildren(
    ...entries.map(([part, [name, meaning]]) =>
      make("li", { title: meaning }, make("i", { "data-part": part }), name, make("span", { class: "unseen" }, `: ${meaning}`)),
    ),
  );
}

export function openStars(row, open) {
  row.querySelector(".stars").hidden = !open;
  row.querySelector('[data-act="rate"]').setAttribute("aria-expanded", open);
}

function animate(list, tops) {
  if (still.matches) return;
  for (const row of list.children) {
    const top = tops.get(row.dataset.id);
    const by = top === undefined ? 0 : top - row.getBoundingClientRect().top;
    const from = top === undefined ? { opacity: 0, transform: "translateX(-12px)" } : { transform: `translateY(${by}px)` };
    if (top === undefined || by) row.animate([from, { opacity: 1, transform: "none" }], { duration: 420, easing: "cubic-bezier(.2,.8,.2,1)" });
  }
}

/** Where the keyboard was: in which row, at which button. */
function rememberFocus(list) {
  const row = document.activeElement?.closest?.("#rows > li");
  if (!row) return null;
  const act = document.activeElement.dataset.act === "stars" ? "rate" : document.activeElement.dataset.act;
  return { id: row.dataset.id, place: [...list.children].indexOf(row), act: act ?? "click" };
}

/** Back to the same title, or to whichever stands in its place now. */
function restoreFocus(list, focus) {
  if (!focus || !list.children.length) return;
  const same = [...list.children].find((row) => row.dataset.id === focus.id);
  const row = same ?? list.children[Math.min(focus.place, list.children.length - 1)];
  row.querySelector(`[data-act="${focus.act}"]`)?.focus({ preventScroll: true });
}

export function showGone(gone) {
  const place = find("gone");
  place.hidden = !gone.length;
  const entries = gone.map(({ item, was, why }) => make("li", {}, make("b", {}, item.title), ` was ${was}. ${why}.`));
  place.replaceChildren(make("h3", {}, "No longer here"), make("ul", {}, ...entries));
}

/** The other column: what would have been shown. */
export function showPlain(items, learned, factsOf) {
  const places = new Map(learned.map((item, index) => [item.content_id, index + 1]));
  const common = items.filter((item) => places.has(item.content_id)).length;
  find("overlap").replaceChildren(
    make("b", {}, `${learned.length - common} of ${learned.length}`),
    learned.length === common ? " titles differ: nothing learned changes which titles are shown yet." : " titles are there because of what was learned.",
  );
  find("plain-rows").replaceChildren(...items.map((item, index) => plainRow(item, index + 1, places.get(item.content_id), factsOf)));
}

function plainRow(item, place, other, factsOf) {
  const note = other ? (other === place ? "same place on the left" : `${other} on the left`) : "not on the left";
  return make(
    "li",
    { class: other ? "shared" : "" },
    make("span", { class: "place" }, String(place)),
    poster(item.content_id, factsOf(item.content_id)),
    make("div", {}, make("b", {}, item.title), make("p", { class: "reason" }, item.explanation), bar(item), make("p", { class: "note" }, note)),
  );
}
