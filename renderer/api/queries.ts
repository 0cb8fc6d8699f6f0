import { keepPreviousData, type UseQueryResult, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import { call } from './client.ts';

interface PageOfItems<Item> {
  readonly items: readonly Item[];
  readonly next: string | null;
}

/** What a GET answers, asked for anew now and then where that is said. The caller names the type of its schema. */
export function useGet<Answer>(
  path: string,
  { everyMs, enabled = true }: { everyMs?: number; enabled?: boolean } = {},
): UseQueryResult<Answer> {
  return useQuery({
    queryKey: [path],
    queryFn: ({ signal }) => call<Answer>('GET', path, undefined, signal),
    enabled,
    ...(everyMs !== undefined && { refetchInterval: everyMs }),
  });
}

/**
 * A list that comes a page at a time, by the cursor of its last answer; asked for anew now and then where that is said.
 * `first` is the whole first answer, for what comes beside the list.
 */
export function usePages<Item, Answer extends PageOfItems<Item> = PageOfItems<Item>>(
  path: string,
  filter: Readonly<Record<string, string | undefined>> = {},
  { everyMs }: { everyMs?: number } = {},
) {
  const query = useInfiniteQuery({
    queryKey: [path, filter],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam, signal }) => {
      const parameters = new URLSearchParams({ limit: '100' });
      for (const [name, value] of Object.entries(filter))
        if (value !== undefined && value !== '') parameters.set(name, value);
      if (pageParam !== null) parameters.set('after', pageParam);
      return call<Answer>('GET', `${path}?${parameters}`, undefined, signal);
    },
    getNextPageParam: ({ next }) => next,
    placeholderData: keepPreviousData,
    ...(everyMs !== undefined && { refetchInterval: everyMs }),
  });
  const { data, hasNextPage, isFetchingNextPage, fetchNextPage } = query;
  const rows = useMemo(() => data?.pages.flatMap(({ items }) => items) ?? [], [data]);
  const more = hasNextPage && !isFetchingNextPage ? () => void fetchNextPage() : undefined;
  return { query, rows, more, first: data?.pages[0] };
}
