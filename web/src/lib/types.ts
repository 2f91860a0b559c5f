export interface ToolCall {
  id: string;
  name: string;
  arguments: string;
}

/** What became of an answer; "writing" is one that some page is still reading. */
export type Status = "done" | "writing" | "stopped" | "broken" | "length";

/** A message knows its predecessor, so that edits and further answers are branches of a tree. */
export interface Message {
  id: string;
  chat: string;
  parent: string | null;
  created: number; // milliseconds
  role: "user" | "assistant" | "tool";
  content: string;
  reasoning?: string;
  calls?: ToolCall[];
  callId?: string; // of role tool: the call that it answers
  status: Status;
  writer?: string; // while writing: the tab that reads it from the server
  beat?: number; // and when that tab last saved it, in milliseconds
  error?: string;
  model?: string;
  tokens?: number; // of the answer
  promptTokens?: number;
  cachedTokens?: number;
  seconds?: number; // from the first token to the last
}

/** Empty text: the server's own default. */
export interface Sampling {
  temperature: string;
  top_p: string;
  top_k: string;
  min_p: string;
  max_tokens: string;
  seed: string;
  schema: string; // JSON schema that answers are held to
  tools: string; // JSON array of OpenAI's tools
}

export interface Chat {
  id: string;
  title: string;
  created: number;
  updated: number;
  leaf: string | null; // the last message of the branch that is shown
  system: string;
  model: string; // "": the first that the server has
  sampling: Sampling;
}

export const noSampling: Sampling = {
  temperature: "",
  top_p: "",
  top_k: "",
  min_p: "",
  max_tokens: "",
  seed: "",
  schema: "",
  tools: "",
};
