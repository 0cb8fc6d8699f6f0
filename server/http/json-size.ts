export interface JsonSize {
  /** Values and containers, counted by brackets and commas: never less than the text holds. */
  readonly nodes: number;
  /** Which of the two bounds the text exceeds; the count ends there. */
  readonly excess: 'depth' | 'nodes' | null;
}

/**
 * How deep JSON text nests and how many values it holds, before it is parsed: one pass, nothing built. A body of some
 * megabytes can be ten million values, which cost a hundred times its bytes.
 */
export function jsonSize(text: string, most: { readonly depth: number; readonly nodes: number }): JsonSize {
  let depth = 0;
  let nodes = 1;
  let inString = false;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === 92) i += 1;
      else if (code === 34) inString = false;
    } else if (code === 34) inString = true;
    else if (code === 123 || code === 91) {
      depth += 1;
      nodes += 1;
      if (depth > most.depth) return { nodes, excess: 'depth' };
    } else if (code === 125 || code === 93) depth -= 1;
    else if (code === 44) nodes += 1;
    else continue;
    if (nodes > most.nodes) return { nodes, excess: 'nodes' };
  }
  return { nodes, excess: null };
}
