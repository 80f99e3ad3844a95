// Discord's Markdown, the small part that a bridge meets, as DOM nodes. Text only ever becomes text nodes.

const FENCE = /```(?:[a-z0-9+-]*\n)?([\s\S]*?)```/i;
const INLINE = [
  [/`([^`\n]+)`/, (match) => element("code", "", match[1])],
  [/\*\*([^\n]+?)\*\*/, (match, names) => element("strong", "", ...inline(match[1], names))],
  [/\*([^\s*](?:[^*\n]*[^\s*])?)\*/, (match, names) => element("em", "", ...inline(match[1], names))],
  [/~~([^\n]+?)~~/, (match, names) => element("s", "", ...inline(match[1], names))],
  [/https?:\/\/[^\s<>"')\]]*[^\s<>"')\].,:;!?]/, (match) => link(match[0])],
  [/<(@[!&]?|#)(\d+)>/, (match, names) => element("span", "mention", names(match[1], match[2]))],
  [/@(?:everyone|here)\b/, (match) => element("span", "mention", match[0])],
];

export function element(tag, name = "", ...children) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...children);
  return made;
}

// A drawing of lines on 24 by 24.
export function icon(path) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  made.setAttribute("viewBox", "0 0 24 24");
  made.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  made.append(line);
  return made;
}

function link(address) {
  const made = element("a", "", address);
  made.href = address;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  return made;
}

function inline(text, names) {
  const nodes = [];
  while (text) {
    let first = null;
    for (const [pattern, make] of INLINE) {
      const match = pattern.exec(text);
      if (match && (!first || match.index < first.match.index)) first = { match, make };
    }
    if (!first) break;
    nodes.push(text.slice(0, first.match.index), first.make(first.match, names));
    text = text.slice(first.match.index + first.match[0].length);
  }
  return [...nodes, text];
}

function lines(text, names) {
  const nodes = [];
  text.split("\n").forEach((line, index) => {
    if (index) nodes.push("\n");
    if (line.startsWith("-# ")) nodes.push(element("small", "", ...inline(line.slice(3), names)));
    else if (line.startsWith("> ")) nodes.push(element("blockquote", "", ...inline(line.slice(2), names)));
    else nodes.push(...inline(line, names));
  });
  return nodes;
}

// names(sign, id) gives the text of a mention: "@" and "@!" a user, "@&" a role, "#" a channel.
// One line, for a quotation: without the signs of markup.
export function plain(text, names) {
  const bare = text.replace(/```(?:[a-z0-9+-]*\n)?|\*\*|~~|`|^(?:-# |> )/gim, "");
  return bare.replace(/<(@[!&]?|#)(\d+)>/g, (_, sign, id) => names(sign, id)).replace(/\s+/g, " ").trim();
}

// The whole message.
export function markup(text, names) {
  const shown = element("div", "text");
  for (let match; (match = FENCE.exec(text)); ) {
    shown.append(...lines(text.slice(0, match.index).replace(/\n$/, ""), names));
    shown.append(element("pre", "", element("code", "", match[1].replace(/\n$/, ""))));
    text = text.slice(match.index + match[0].length).replace(/^\n/, "");
  }
  shown.append(...lines(text, names));
  return shown;
}
