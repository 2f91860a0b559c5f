// Light colouring of code: comments, strings, numbers and the keywords that most languages share.

const keywords = new Set(
  `abstract and as async await auto bool break case catch char class const continue def default defer del delete do
  double elif else end enum except export extends extern false False final finally float fn for from func function go
  goto if impl implements import in include inline instanceof int interface is lambda let local long loop match module
  mut namespace new nil None not null nullptr of or package pass private protected pub public raise ref require return
  select self short signed sizeof static string struct super switch template this throw throws trait true True try type
  typedef typeof undefined union unsigned use using var virtual void volatile where while with yield`.split(/\s+/),
);
const sqlWords = /^(select|from|where|insert|into|values|update|set|delete|create|table|join|left|right|inner|on|group|by|order|having|limit|and|or|not|null|as|distinct|index|primary|key)$/i;
const hashComments = new Set(["python", "py", "sh", "bash", "shell", "zsh", "ruby", "rb", "yaml", "yml", "toml", "make", "dockerfile", "r", "perl"]);
const dashComments = new Set(["sql", "lua", "haskell", "hs", "ada"]);

const token =
  /(\/\*[\s\S]*?(?:\*\/|$)|\/\/[^\n]*|#[^\n]*|--[^\n]*)|("""[\s\S]*?(?:"""|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?|`(?:\\.|[^`\\])*`?)|(\b\d[\w.]*)|([A-Za-z_$][\w$]*)/g;

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** `code` as HTML with spans of the classes c, s, n and k. */
export function highlight(code: string, language: string): string {
  if (!language || language === "text" || code.length > 50_000) return escapeHtml(code);
  const lower = language.toLowerCase();
  const span = (kind: string, text: string) => `<span class="${kind}">${escapeHtml(text)}</span>`;
  let html = "";
  let end = 0;
  token.lastIndex = 0;
  for (let found = token.exec(code); found; found = token.exec(code)) {
    let [text, comment, string, number, word] = found;
    html += escapeHtml(code.slice(end, found.index));
    if (comment) {
      const fits =
        comment.startsWith("#") ? hashComments.has(lower)
        : comment.startsWith("--") ? dashComments.has(lower)
        : !hashComments.has(lower) && !dashComments.has(lower);
      // Not a comment of this language: only its mark is passed over.
      if (!fits) text = comment.match(/^(\/\*|\/\/|--|#)/)![0];
      html += fits ? span("c", text) : escapeHtml(text);
    } else if (string) {
      html += span("s", text);
    } else if (number) {
      html += span("n", text);
    } else {
      html += keywords.has(word) || (lower === "sql" && sqlWords.test(word)) ? span("k", text) : escapeHtml(text);
    }
    end = found.index + text.length;
    token.lastIndex = end;
  }
  return html + escapeHtml(code.slice(end));
}
