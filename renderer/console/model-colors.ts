import { useMemo } from 'react';
import { useLive } from '../api/live.ts';
import { colorsOf } from '../ui/theme.ts';

/** The colours of the models that there are. */
export function useModelColors(): (id: string) => string {
  const names = useLive(({ models }) => Object.keys(models).join('\n'));
  return useMemo(() => colorsOf(names.split('\n')), [names]);
}
