// Two answers side by side: what moved, and why, read off the answers' own numbers. Pure: no page, no network.

export const PARTS = {
  search: ["your words", "how well it matches what was typed"],
  collaborative: ["other viewers", "what viewers with a similar history chose"],
  content: ["content", "facts and themes shared with what was liked"],
  graph: ["connections", "people, franchises and relations between titles"],
  context: ["trending", "what is watched now, on this device, at this hour"],
  cold_start: ["first guess", "what suits the genres and facts given at the start"],
  adapter: ["your adapter", "this viewer's own low-rank weights"],
  pattern: ["patterns", "what went well in sessions like this one"],
  exploration: ["trying out", "a place kept for new titles that few have seen"],
};

const NOTICEABLE = 0.0005; // a part's change that deserves a word

export const nameOf = (part) => PARTS[part]?.[0] ?? part.replaceAll("_", " ");

/**
 * before, after: recommendations in order. cause: {content_id, title, seen} of the interaction, or null.
 * Returns {rows: Map id -> {place, was, kind, why, parts}, gone: [{item, was, why}], counts}; kind: new up down same.
 */
export function compare(before, after, cause = null) {
  const earlier = new Map(before.map((item, index) => [item.content_id, { item, was: index + 1 }]));
  const rows = new Map();
  const counts = { new: 0, up: 0, down: 0, same: 0, gone: 0 };
  const here = new Set(after.map((item) => item.content_id));
  const gone = before
    .map((item, index) => ({ item, was: index + 1, why: parting(item, cause) }))
    .filter(({ item }) => !here.has(item.content_id));
  const arrived = [];
  after.forEach((item, index) => {
    const { was = null, item: then = null } = earlier.get(item.content_id) ?? {};
    const place = index + 1;
    const kind = was === null ? "new" : was > place ? "up" : was < place ? "down" : "same";
    const parts = then ? changes(then.score_parts, item.score_parts) : [];
    if (kind === "new") arrived.push(item);
    counts[kind] += 1;
    const made = wayMade(kind, was, place, gone, arrived);
    rows.set(item.content_id, { place, was, kind, parts, why: reason(item, then, kind, parts, cause, made) });
  });
  counts.gone = gone.length;
  return { rows, gone, counts };
}

/** Why a title moved by nothing of its own: those above it that left, or those that came in above it. */
function wayMade(kind, was, place, gone, arrived) {
  const left = gone.filter((one) => one.was < was).map((one) => one.item.title);
  if (kind === "up" && left.length >= was - place) return `${listed(left)}, above it, left`;
  if (kind === "down" && arrived.length >= place - was) return `${listed(arrived.map((item) => item.title))} came in above it`;
  return "";
}

const listed = (names) => (names.length > 2 ? `${names.length} titles` : names.join(" and "));

/** [[part, change]], the largest first. */
export function changes(then, now) {
  return [...new Set([...Object.keys(then), ...Object.keys(now)])]
    .map((part) => [part, (now[part] ?? 0) - (then[part] ?? 0)])
    .filter(([, change]) => Math.abs(change) >= NOTICEABLE)
    .sort((one, other) => Math.abs(other[1]) - Math.abs(one[1]));
}

function reason(item, then, kind, parts, cause, made) {
  const newly = cause && item.based_on.includes(cause.content_id) && !then?.based_on.includes(cause.content_id);
  const because = `Because of ${newly ? cause.title : ""}`;
  if (item.recommendation_type === "exploration") return kind === "new" ? "Tried out: this place is kept for new titles" : "";
  if (kind === "new") return newly ? because : "Came up from below the last place";
  if (kind === "same") return newly ? because : "";
  const driving = parts.find(([, change]) => change * (kind === "up" ? 1 : -1) > 0);
  if (newly && kind === "up") return driving ? `${because}: ${told(driving)}` : because;
  if (made) return made;
  if (driving) return `Because of ${told(driving)}`;
  return kind === "up" ? "Those above it lost more" : "Others gained more and passed it";
}

function parting(item, cause) {
  if (cause?.content_id === item.content_id && cause.seen) return cause.seen;
  if (item.recommendation_type === "exploration") return "Was tried out";
  return "Others passed it";
}

export const told = ([part, change]) => `${nameOf(part)} ${signed(change)}`;
export const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;

/** One sentence for eyes and ears. */
export function summary({ counts }) {
  const said = [
    counts.new && `${counts.new} new`,
    counts.up && `${counts.up} up`,
    counts.down && `${counts.down} down`,
    counts.gone && `${counts.gone} gone`,
  ].filter(Boolean);
  if (said.length) return said.join(", ");
  return "the order stays; scores have changed";
}
