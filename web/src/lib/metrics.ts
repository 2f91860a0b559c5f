// What /metrics says (Prometheus' text format), as the points of a few charts.

export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

export function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([^ ]+)$/.exec(line);
    if (!found) continue;
    const labels: Record<string, string> = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(/([a-zA-Z_]\w*)="((?:\\.|[^"\\])*)"/g)) {
      labels[name] = value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    }
    samples.push({ name: found[1], labels, value: Number(found[3]) });
  }
  return samples;
}

/** Of all samples of a name with these labels. */
export function sum(samples: Sample[], name: string, labels: Record<string, string> = {}): number {
  return samples
    .filter((s) => s.name === name && Object.entries(labels).every(([label, value]) => s.labels[label] === value))
    .reduce((total, s) => total + s.value, 0);
}

/** The state at a time, with rates over the time since the state before. */
export interface Point {
  time: number; // seconds
  generated: number; // tokens a second
  prompt: number; // tokens a second, computed
  queued: number;
  running: number;
  kvUsed: number; // of the blocks, 0 to 1
  kvCached: number;
  hits: number; // of the last prompts' tokens, 0 to 1; NaN before there were any
}

const counters = ["mlxd_generated_tokens_total", "mlxd_prompt_tokens_total", "mlxd_cached_prompt_tokens_total"] as const;

export class Recorder {
  private last: { time: number; counts: number[] } | null = null;
  private hits = NaN;

  /** The point at `time`, in seconds, for one model or ("") all; null for the first. */
  add(samples: Sample[], time: number, model: string): Point | null {
    const labels: Record<string, string> = model ? { model } : {};
    const of = (name: string) => sum(samples, name, labels);
    const counts = counters.map(of);
    const before = this.last;
    this.last = { time, counts };
    // Counters that fall are those of a server that was started again.
    if (!before || time <= before.time || counts.some((count, i) => count < before.counts[i])) return null;
    const [generated, prompt, cached] = counts.map((count, i) => count - before.counts[i]);
    const seconds = time - before.time;
    if (prompt + cached > 0) this.hits = cached / (prompt + cached);
    const blocks = of("mlxd_kv_blocks_total") || 1;
    return {
      time,
      generated: generated / seconds,
      prompt: prompt / seconds,
      queued: of("mlxd_queued_requests"),
      running: of("mlxd_running_sequences"),
      kvUsed: of("mlxd_kv_blocks_used") / blocks,
      kvCached: of("mlxd_kv_blocks_cached") / blocks,
      hits: this.hits,
    };
  }
}

export interface MemoryPart {
  name: string;
  bytes: number;
}

export function memoryParts(samples: Sample[], model: string): MemoryPart[] {
  const names: Record<string, string> = {
    weights: "Weights",
    kv_cache: "KV cache",
    states: "Recurrent states",
    buffers: "Buffers",
    connections: "Connections",
  };
  return Object.entries(names)
    .map(([part, name]) => ({
      name,
      bytes: sum(samples, "mlxd_memory_bytes", model && part !== "connections" ? { part, model } : { part }),
    }))
    .filter((part) => part.bytes > 0);
}

export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; bytes >= 1024 && unit + 1 < units.length; ++unit) bytes /= 1024;
  return `${bytes.toFixed(bytes < 10 && unit > 0 ? 1 : 0)} ${units[unit]}`;
}

/** The least of 1, 2, 5 times a power of ten that is not below `value`. */
export function niceMaximum(value: number): number {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value)!;
}

/** An SVG path over `values`, oldest first, the newest at the right edge; begins behind what is NaN. */
export function linePath(values: number[], capacity: number, maximum: number, width: number, height: number): string {
  const first = Math.max(values.findIndex((value) => !Number.isNaN(value)), 0);
  const points = values.slice(first).map((value, i, known) => {
    const x = width - ((known.length - 1 - i) * width) / (capacity - 1);
    const y = height - (Math.min(value, maximum) / maximum) * height;
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  return values.some((value) => !Number.isNaN(value)) ? `M${points.join("L")}` : "";
}
