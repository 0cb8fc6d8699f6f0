const replacements: readonly (readonly [RegExp, string])[] = [
  // Quoted paths may hold spaces.
  [/(["'`])(?:~?\/|[A-Za-z]:[\\/]|\\\\)[^"'`\n]*\1/g, '(path)'],
  [/\b[a-z][a-z0-9+.-]*:\/\/[^\s"'<>)]+/gi, '(address)'],
  [/(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5})?(?![\w.]*\d)/g, '(address)'],
  [/\[[0-9a-f:]*:[0-9a-f:.]*\](?::\d{1,5})?/gi, '(address)'],
  [/(?<![\w:])::1(?::\d{1,5})?(?![\w:])/g, '(address)'],
  [/\blocalhost(?::\d{1,5})?\b/gi, '(address)'],
  [/\b[A-Za-z]:[\\/](?:[^\\/:*?"<>|\r\n]+[\\/])*[^\\/:*?"<>|\s]*/g, '(path)'],
  [/\\\\[^\\/\s]+(?:\\[^\\:*?"<>|\r\n]+)*\\?[^\\\s]*/g, '(path)'],
  [/(?<![\w.)/])(?:~|\.{1,2})?\/(?:[\w.@+~%-]+\/)*[\w.@+~%-]+/g, '(path)'],
];

/**
 * An engine's own sentence as a stranger may read it: without the addresses, ports and paths of this machine. The
 * operator's log has it whole.
 */
export function withoutPlaces(sentence: string): string {
  return replacements.reduce((text, [pattern, word]) => text.replace(pattern, word), sentence);
}
