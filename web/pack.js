// Behind Vite: compresses the built files for those who accept it, and notes which sources they
// were built from, so that a test can tell without Node whether dist/ is up to date.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const files = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();

for (const file of files("dist").filter((name) => /\.(html|js|css|svg)$/.test(name))) {
  const bytes = readFileSync(file);
  const brotli = { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } };
  writeFileSync(`${file}.gz`, gzipSync(bytes, { level: 9 }));
  writeFileSync(`${file}.br`, brotliCompressSync(bytes, brotli));
}

// As sha256sum writes and checks it, in this folder.
const sources = ["index.html", "package-lock.json", "package.json", "pack.js", "svelte.config.js", "vite.config.ts", ...files("src")];
const line = (file) => `${createHash("sha256").update(readFileSync(file)).digest("hex")}  ${file}\n`;
writeFileSync("dist/SOURCES", sources.map(line).join(""));
