// The channels as a list: their order, their signs, their buttons, and which of them have something new.

import { element } from "/markup.js";

export const CATEGORY = 4;
const THREADS = [10, 11, 12];
const STARTABLE = [0, 5]; // types of channels in which a thread can be started
const POSTS = [15, 16]; // types that hold threads and no messages

export const isThread = (channel) => THREADS.includes(channel.type);
export const takesThreads = (channel) => STARTABLE.includes(channel?.type);
export const takesMessages = (channel) => Boolean(channel) && !POSTS.includes(channel.type);

// Channels without a category first, then by category; each thread under its channel, the archived last.
export function inOrder(channels) {
  const all = [...channels];
  const order = [null, ...all.filter((one) => one.type === CATEGORY).map((category) => category.id)];
  const tops = all.filter((one) => !isThread(one) && one.type !== CATEGORY);
  tops.sort((a, b) => order.indexOf(a.parent_id) - order.indexOf(b.parent_id) || a.position - b.position);
  const threads = all.filter(isThread).sort((a, b) => Number(isArchived(a)) - Number(isArchived(b)));
  return tops.flatMap((top) => [top, ...threads.filter((one) => one.parent_id === top.id)]);
}

export const isArchived = (channel) => Boolean(channel.thread_metadata?.archived);

export function sign(channel) {
  const made = element("span", "sign", isThread(channel) ? "↳" : "#");
  made.setAttribute("aria-hidden", "true");
  return made;
}

// What is already in its place is not touched: a list that is drawn anew loses the click under way in it.
function place(parent, wanted) {
  wanted.forEach((node, at) => {
    if (parent.childNodes[at] !== node) parent.insertBefore(node, parent.childNodes[at] ?? null);
  });
  while (parent.childNodes.length > wanted.length) parent.lastChild.remove();
}

function channelItem(root, channel, open) {
  let made = root.querySelector(`[data-id="${channel.id}"]`);
  if (!made) {
    made = element("button", "", sign(channel), element("span", "label"));
    made.type = "button";
    made.dataset.id = channel.id;
    made.onclick = open;
  }
  made.querySelector(".label").textContent = channel.name;
  made.title = isArchived(channel) ? `${channel.name} (archived)` : channel.name;
  const item = made.parentElement ?? element("li", "", made);
  item.classList.toggle("thread", isThread(channel));
  item.classList.toggle("archived", isArchived(channel));
  return item;
}

// A category's list, with its heading before it; channels without a category have none.
function section(root, id, title, items) {
  const list = root.querySelector(`ul[data-of="${id}"]`) ?? element("ul");
  list.dataset.of = id;
  place(list, items);
  if (id === null) return [list];
  const head = list.previousElementSibling ?? element("h2");
  head.textContent = title;
  return [head, list];
}

// The whole list; `category(id)` names a category, `open(id)` is called by a button.
export function drawList(root, channels, { category, open }) {
  const focused = document.activeElement?.closest("#channels button");
  const under = new Map([[null, []]]);
  let top = null;
  for (const channel of channels) {
    if (!isThread(channel)) top = channel.parent_id ?? null;
    if (!under.has(top)) under.set(top, []);
    under.get(top).push(channelItem(root, channel, () => open(channel.id)));
  }
  place(root, [...under].flatMap(([id, items]) => section(root, id, category(id), items)));
  if (focused?.isConnected) focused.focus(); // what was moved has lost it
}

export function markList(root, here, unread) {
  for (const button of root.querySelectorAll("button")) {
    const news = unread.has(button.dataset.id);
    button.parentElement.classList.toggle("unread", news);
    button.querySelector(".dot")?.remove();
    button.querySelector(".sr")?.remove();
    if (news) button.append(element("span", "dot"), element("span", "sr", "unread"));
    if (button.dataset.id === here) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
}

// Arrows walk the list.
export function walkList(root) {
  root.onkeydown = (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by || event.altKey) return;
    event.preventDefault();
    const all = [...root.querySelectorAll("button")];
    all[(all.indexOf(document.activeElement) + by + all.length) % all.length].focus();
  };
}
