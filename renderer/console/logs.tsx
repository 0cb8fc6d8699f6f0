import { Code, Group, ScrollArea, Stack, Switch, TextInput } from '@mantine/core';
import { Search } from 'lucide-react';
import { useEffect, useRef, useState } from 'react';
import type { Static } from 'typebox';
import type { LogView } from '../../server/contract/operator.ts';
import { useGet } from '../api/queries.ts';
import { moment } from '../ui/format.ts';
import { Empty, Loaded } from '../ui/page.tsx';

type Lines = Static<typeof LogView>['lines'];

/** The last output of a process: searched, and followed as it comes. */
export function Logs({ path }: { path: string }) {
  const [search, setSearch] = useState('');
  const [isFollowed, setFollowed] = useState(true);
  const query = useGet<Static<typeof LogView> | Lines>(path, { everyMs: isFollowed ? 1_000 : 3_600_000 });
  const end = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (isFollowed) end.current?.scrollIntoView({ block: 'end' });
  }, [isFollowed, query.data]);
  return (
    <Stack>
      <Group align="flex-end">
        <TextInput
          label="Search"
          leftSection={<Search aria-hidden size={15} />}
          value={search}
          onChange={(event) => setSearch(event.currentTarget.value)}
          style={{ flex: 1 }}
        />
        <Switch
          label="Follow"
          checked={isFollowed}
          onChange={(event) => setFollowed(event.currentTarget.checked)}
          mb={8}
        />
      </Group>
      <Loaded query={query}>
        {(data) => {
          const lines = 'lines' in data ? data.lines : data;
          const found = lines.filter(({ text }) => text.toLowerCase().includes(search.toLowerCase()));
          if (found.length === 0)
            return <Empty title={search === '' ? 'It has written nothing yet' : 'No line has that in it'} />;
          return (
            <ScrollArea h="70vh" viewportProps={{ tabIndex: 0, 'aria-label': 'Log', role: 'log' }}>
              <Code block fz={12}>
                {found
                  .map(({ at, text, stream }) => `${moment(at)} ${stream === 'stderr' ? '!' : ' '} ${text}`)
                  .join('\n')}
              </Code>
              <div ref={end} />
            </ScrollArea>
          );
        }}
      </Loaded>
    </Stack>
  );
}
