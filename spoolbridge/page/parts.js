// What the others are made of: elements, lists that keep their elements, times in words.
// Everything that comes from outside goes through textContent; nothing here makes markup of a text.

export const find = (selector, within = document) => within.querySelector(selector);

export function element(tag, name, ...inside) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...inside);
  return made;
}

export function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

// The children of a list, one an item, each kept as long as its key is there: focus and motion survive.
export function keep(list, items, key, make, change) {
  const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
  let place = list.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = known.get(name);
    if (child) {
      known.delete(name);
    } else {
      child = make(item);
      child.dataset.key = name;
    }
    if (child === place) place = place.nextElementSibling;
    else list.insertBefore(child, place);
    change(child, item);
  }
  for (const gone of known.values()) gone.remove();
}

export function span(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

export function ago(at, now) {
  const seconds = Math.round(now - at);
  if (seconds < 2) return "now";
  return seconds < 10 ? `${seconds} s ago` : `${span(seconds)} ago`;
}

export function many(count, one, more) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : more}`;
}
