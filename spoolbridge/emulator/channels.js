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

function channelButton(channel, open) {
  const made = element("button", "", sign(channel), element("span", "label", channel.name));
  made.type = "button";
  made.dataset.id = channel.id;
  made.title = isArchived(channel) ? `${channel.name} (archived)` : channel.name;
  made.onclick = open;
  return made;
}

// The whole list; `category(id)` names a category, `open(id)` is called by a button.
export function drawList(root, channels, { category, open }) {
  const focused = document.activeElement?.closest("#channels button")?.dataset.id;
  const parts = [];
  let under = null;
  let list = element("ul");
  for (const channel of channels) {
    const thread = isThread(channel);
    if (!thread && channel.parent_id !== under) {
      parts.push(list, element("h2", "", category(channel.parent_id)));
      list = element("ul");
      under = channel.parent_id;
    }
    const name = thread ? `thread${isArchived(channel) ? " archived" : ""}` : "";
    list.append(element("li", name, channelButton(channel, () => open(channel.id))));
  }
  root.replaceChildren(...parts, list);
  if (focused) root.querySelector(`[data-id="${focused}"]`)?.focus();
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
