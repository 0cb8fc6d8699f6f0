import { useMemo } from 'react';
import { useGet } from '../api/queries.ts';

/** Names of tenants, by id. */
export function useTenantNames(): ReadonlyMap<string, string> {
  const { data } = useGet<{ tenants: { id: string; name: string }[] }>('/api/tenants?limit=100', {
    everyMs: 30_000,
  });
  return useMemo(() => new Map(data?.tenants.map(({ id, name }) => [id, name]) ?? []), [data]);
}
