// Reactions: what is there, as buttons that put one there and take it back, and the choice of a new one.

import { element } from "/markup.js";

const CHOICE = [
  ["👍", "thumbs up"], ["✅", "done"], ["👀", "looking"], ["❤️", "heart"],
  ["😄", "smile"], ["🎉", "party"], ["🙏", "thanks"], ["❓", "question"],
];

const keyOf = (emoji) => (emoji.id ? `${emoji.name}:${emoji.id}` : emoji.name);

// The reactions of a message. `toggle(key)` is called by a button; `shownName(user)` says who put one.
export function reactions(message, { toggle, shownName }) {
  const made = element("ul", "reactions");
  made.setAttribute("aria-label", "Reactions");
  for (const one of message.reactions) {
    const key = keyOf(one.emoji);
    const users = message.reactors?.[key] ?? [];
    const sign = element("span", "", one.emoji.id ? `:${one.emoji.name}:` : one.emoji.name);
    const button = element("button", "", sign, element("span", "count", `${one.count}`));
    button.type = "button";
    button.title = users.map(shownName).join(", ");
    button.setAttribute("aria-label", `${one.emoji.name}, ${one.count}: ${button.title}`);
    button.dataset.key = key;
    button.dataset.who = users.map((user) => user.username).join("\n");
    button.onclick = () => toggle(key);
    made.append(element("li", "", button));
  }
  return made;
}

// Shows which reactions are those of the human who writes now.
export function markMine(root, username) {
  for (const button of root.querySelectorAll(".reactions button")) {
    button.setAttribute("aria-pressed", String(button.dataset.who.split("\n").includes(username)));
  }
}

// A row of emoji to choose from, below the button that asked for it. One at a time.
export function openPicker(button, toggle) {
  const open = button.getAttribute("aria-expanded") === "true";
  closePicker();
  if (open) return;
  const made = element("div", "picker");
  made.setAttribute("role", "group");
  made.setAttribute("aria-label", "React with");
  for (const [emoji, name] of CHOICE) {
    const one = element("button", "", emoji);
    one.type = "button";
    one.title = name;
    one.setAttribute("aria-label", name);
    one.onclick = () => {
      closePicker();
      button.focus();
      toggle(emoji);
    };
    made.append(one);
  }
  made.onkeydown = (event) => walk(event, made, button);
  button.setAttribute("aria-expanded", "true");
  button.after(made);
  made.firstChild.focus();
}

function walk(event, made, button) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by && event.key !== "Escape") return;
  event.preventDefault();
  event.stopPropagation();
  if (by) {
    const all = [...made.children];
    return all[(all.indexOf(document.activeElement) + by + all.length) % all.length].focus();
  }
  closePicker();
  return button.focus();
}

export function closePicker() {
  const open = document.querySelector(".picker");
  open?.previousElementSibling.setAttribute("aria-expanded", "false");
  open?.remove();
}
