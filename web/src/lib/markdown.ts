// Markdown to HTML that is safe to show: what a model writes is untrusted. HTML in it stays text,
// images become links (the page loads nothing from anywhere), and DOMPurify has the last word.
import DOMPurify from "dompurify";
import { Marked, type TokenizerAndRendererExtension } from "marked";
import { escapeHtml, highlight } from "./highlight";

function tex(source: string, display: boolean): string {
  return `<code class="tex" data-display="${display}">${escapeHtml(source)}</code>`;
}

// $$..$$, \[..\], \(..\), and $..$ where it cannot be money. Drawn later, when temml is loaded.
const blockMath: TokenizerAndRendererExtension = {
  name: "blockMath",
  level: "block",
  start: (text) => text.match(/(^|\n) {0,3}(\$\$|\\\[)/)?.index,
  tokenizer(text) {
    const found = /^ {0,3}(?:\$\$([\s\S]+?)\$\$|\\\[([\s\S]+?)\\\])[ \t]*(?:\n|$)/.exec(text);
    if (found) return { type: "blockMath", raw: found[0], text: (found[1] ?? found[2]).trim() };
  },
  renderer: (token) => `<p>${tex(token.text, true)}</p>`,
};
const inlineMath: TokenizerAndRendererExtension = {
  name: "inlineMath",
  level: "inline",
  start: (text) => text.match(/\$|\\[([]/)?.index,
  tokenizer(text) {
    const found =
      /^(?:\$\$([^\n]+?)\$\$|\\\[([^\n]+?)\\\])/.exec(text) ??
      /^(?:\\\(([\s\S]+?)\\\)|\$((?:\\.|[^\s$\\])(?:(?:\\.|[^$\\\n])*?(?:\\.|[^\s$\\]))?)\$(?!\d))/.exec(text);
    if (!found) return;
    const display = /^(\$\$|\\\[)/.test(found[0]);
    return { type: "inlineMath", raw: found[0], text: (found[1] ?? found[2] ?? found[3] ?? "").trim() || found[2], display };
  },
  renderer: (token) => tex(token.text, token.display),
};

const marked = new Marked({ gfm: true, breaks: true });
marked.use({
  extensions: [blockMath, inlineMath],
  renderer: {
    html: (token) => escapeHtml(token.text),
    image: (token) => `<a href="${escapeHtml(token.href)}">${escapeHtml(token.text || token.href)}</a>`,
    code({ text, lang }) {
      const language = (lang ?? "").trim().split(/\s/)[0];
      return `<pre tabindex="0" data-language="${escapeHtml(language)}"><code>${highlight(text, language)}</code></pre>\n`;
    },
    // Below the heading of the message that they are in.
    heading({ tokens, depth }) {
      const level = Math.min(depth + 2, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>\n`;
    },
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
});

const allowed = {
  ALLOWED_TAGS: `a blockquote br code del em h3 h4 h5 h6 hr li ol p pre s span strong sub sup table tbody td th thead tr ul`.split(" "),
  ALLOWED_ATTR: ["href", "class", "align", "start", "tabindex", "data-display", "data-language"],
  ADD_URI_SAFE_ATTR: ["align", "start", "tabindex"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
};

/**
 * The HTML of each block. Blocks before the last are the same while a text grows, so who shows them
 * touches the last one alone.
 */
export function renderBlocks(source: string): string[] {
  const tokens = marked.lexer(source);
  return tokens
    .filter((token) => token.type !== "space" && token.type !== "def")
    .map((token) => cached(token.raw, () => {
      const one = Object.assign([token], { links: tokens.links });
      return DOMPurify.sanitize(marked.parser(one), allowed);
    }));
}

const known = new Map<string, string>();

function cached(raw: string, make: () => string): string {
  if (raw.includes("][") || /\[[^\]]*\](?!\()/.test(raw)) return make(); // may depend on a definition elsewhere
  let html = known.get(raw);
  if (html === undefined) {
    if (known.size > 2000) known.clear();
    html = make();
    known.set(raw, html);
  }
  return html;
}

/** Draws the formulas below `root` that are not drawn yet. */
export async function drawFormulas(root: HTMLElement): Promise<void> {
  const places = root.querySelectorAll<HTMLElement>("code.tex");
  if (places.length === 0) return;
  const { default: temml } = await import("temml");
  for (const place of places) {
    const formula = document.createElement("span");
    try {
      temml.render(place.textContent ?? "", formula, { displayMode: place.dataset.display === "true", throwOnError: true });
    } catch {
      place.classList.replace("tex", "not-tex"); // shown as it was written
      continue;
    }
    if (place.isConnected) place.replaceWith(formula);
  }
}
