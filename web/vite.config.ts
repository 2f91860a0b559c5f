import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

// Relative addresses, so that the page works behind a prefix; nothing inlined, since the server's
// content security policy allows no inline script, style or data: URL of a script.
export default defineConfig({
  base: "./",
  plugins: [svelte()],
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 300,
    license: { fileName: "LICENSES.md" }, // of what is bundled, for whoever passes the program on
  },
  test: { environment: "jsdom", include: ["test/**/*.test.ts"] },
  server: { proxy: Object.fromEntries(["/v1", "/metrics", "/health", "/version"].map((path) => [path, "http://127.0.0.1:10242"])) },
});
