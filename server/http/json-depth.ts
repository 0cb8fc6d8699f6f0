/** Whether JSON text nests deeper than allowed; one pass, nothing built, so that no later walk can overflow. */
export function deeperThan(text: string, most: number): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === 92) i += 1;
      else if (code === 34) inString = false;
    } else if (code === 34) inString = true;
    else if (code === 123 || code === 91) {
      depth += 1;
      if (depth > most) return true;
    } else if (code === 125 || code === 93) depth -= 1;
  }
  return false;
}
