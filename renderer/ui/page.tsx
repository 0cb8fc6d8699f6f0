import { Alert, Button, Center, Group, Loader, Stack, Text, Title } from '@mantine/core';
import type { UseQueryResult } from '@tanstack/react-query';
import { Inbox, TriangleAlert } from 'lucide-react';
import { type ReactNode, useEffect } from 'react';
import { Unreachable } from '../api/client.ts';

/** A page of the console: its title, what it is for, what can be done, and what it shows. */
export function Page({
  title,
  about,
  actions,
  children,
}: {
  title: string;
  about?: string;
  actions?: ReactNode;
  children: ReactNode;
}) {
  useEffect(() => {
    document.title = `${title} · Kilnhouse`;
  }, [title]);
  return (
    <Stack gap="lg" maw={1400}>
      <Group justify="space-between" align="flex-start" gap="sm">
        <div>
          <Title order={1} size="h2">
            {title}
          </Title>
          {about !== undefined && (
            <Text c="dimmed" size="sm" maw={720}>
              {about}
            </Text>
          )}
        </div>
        {actions !== undefined && <Group gap="xs">{actions}</Group>}
      </Group>
      {children}
    </Stack>
  );
}

/** While something is on its way. */
export function Waiting({ what = 'Loading', fills = false }: { what?: string; fills?: boolean }) {
  return (
    <Center mih={fills ? '100vh' : 160}>
      <Loader role="status" aria-label={what} />
    </Center>
  );
}

/** What was asked for, or how that stands: on its way, refused with a way to try again, or there. */
export function Loaded<Data>({
  query,
  children,
}: {
  query: UseQueryResult<Data>;
  children: (data: Data) => ReactNode;
}) {
  if (query.data !== undefined) return children(query.data);
  if (query.isPending && query.fetchStatus !== 'paused') return <Waiting />;
  return <Problem error={query.error} retry={() => void query.refetch()} />;
}

export function Problem({ error, retry }: { error: unknown; retry?: () => void }) {
  const message = error instanceof Error ? error.message : 'Something went wrong.';
  const title = error instanceof Unreachable ? 'No answer' : 'That did not work';
  return (
    <Alert color="red" variant="light" title={title} icon={<TriangleAlert aria-hidden />} role="alert">
      <Stack gap="xs" align="flex-start">
        <Text size="sm">{message}</Text>
        {retry && (
          <Button size="xs" variant="default" onClick={retry}>
            Try again
          </Button>
        )}
      </Stack>
    </Alert>
  );
}

/** Where there is nothing yet: what would be here, and how it comes to be. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <Center mih={140} p="md">
      <Stack gap={4} align="center" maw={460} ta="center">
        <Inbox aria-hidden size={28} strokeWidth={1.4} opacity={0.6} />
        <Text fw={600}>{title}</Text>
        {children !== undefined && (
          <Text c="dimmed" size="sm" component="div">
            {children}
          </Text>
        )}
      </Stack>
    </Center>
  );
}
