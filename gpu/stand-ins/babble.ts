/** What the text stand-in says: words, never knowledge, and the same ones for the same prompt. */
export function babble(prompt: string, words: number): string[] {
  const echo = prompt.trim().split(/\s+/).filter(Boolean).slice(-12);
  const line = [
    ...'This is a demo stand-in, not a language model.'.split(' '),
    ...(echo.length > 0 ? ['You', 'wrote:', ...echo.slice(0, -1), `${echo.at(-1)}.`] : []),
    ...'It streams words at the pace of a small graphics card, so that everything around it can be tried out.'.split(
      ' ',
    ),
  ];
  return Array.from({ length: Math.min(words, 400) }, (_, i) => line[i % line.length] ?? '')
    .slice(0, Math.min(words, line.length))
    .map((word, i) => (i === 0 ? word : ` ${word}`));
}

/** A value that a JSON schema allows, so that structured output can be relied on. */
export function sampleOf(schema: unknown, root: unknown = schema, depth = 0): unknown {
  if (depth > 32 || typeof schema !== 'object' || schema === null) return null;
  const node = schema as Record<string, unknown>;
  if (typeof node['$ref'] === 'string') return sampleOf(resolve(root, node['$ref']), root, depth + 1);
  if ('const' in node) return node['const'];
  if (Array.isArray(node['enum'])) return node['enum'][0];
  for (const key of ['anyOf', 'oneOf', 'allOf']) {
    const options = node[key];
    if (Array.isArray(options)) return sampleOf(options[0], root, depth + 1);
  }
  const type = Array.isArray(node['type']) ? node['type'][0] : node['type'];
  switch (type) {
    case 'string':
      return 'demo'.padEnd(numberOf(node['minLength'], 4), '.').slice(0, numberOf(node['maxLength'], 1_000));
    case 'integer':
    case 'number':
      return numberOf(node['minimum'], Math.min(1, numberOf(node['maximum'], 1)));
    case 'boolean':
      return true;
    case 'array':
      return Array.from({ length: numberOf(node['minItems'], 1) }, () =>
        sampleOf(node['items'], root, depth + 1),
      );
    case 'null':
      return null;
    default: {
      const properties = (node['properties'] ?? {}) as Record<string, unknown>;
      return Object.fromEntries(
        Object.entries(properties).map(([key, inner]) => [key, sampleOf(inner, root, depth + 1)]),
      );
    }
  }
}

function numberOf(value: unknown, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise;
}

function resolve(root: unknown, reference: string): unknown {
  return reference
    .replace(/^#\//, '')
    .split('/')
    .reduce<unknown>((node, key) => (node as Record<string, unknown> | undefined)?.[key], root);
}
