import { Alert, Badge, Code, Drawer, Group, Stack, Text, Title, UnstyledButton } from '@mantine/core';
import { useState } from 'react';
import type { Static } from 'typebox';
import type { OutboxView } from '../../../server/contract/operator-accounts.ts';
import { useGet } from '../../api/queries.ts';
import { CopyText } from '../../ui/actions.tsx';
import { moment } from '../../ui/format.ts';
import { Empty, Page, Problem } from '../../ui/page.tsx';
import { PagedTable } from '../../ui/paged-table.tsx';
import type { Column } from '../../ui/table.tsx';

type Message = Static<typeof OutboxView>['items'][number];

export default function OutboxPage() {
  const head = useGet<Static<typeof OutboxView>>('/api/outbox?limit=1', { everyMs: 15_000 });
  const [opened, setOpened] = useState<Message | null>(null);
  const columns: readonly Column<Message>[] = [
    { title: 'When', width: '140px', show: ({ createdAt }) => moment(createdAt) },
    { title: 'To', width: 'minmax(150px, 1fr)', show: ({ recipient }) => recipient },
    {
      title: 'About',
      width: 'minmax(170px, 2fr)',
      show: (message) => (
        <UnstyledButton fz="sm" td="underline" onClick={() => setOpened(message)}>
          {message.subject}
        </UnstyledButton>
      ),
    },
    {
      title: 'State',
      width: '130px',
      show: ({ sentAt, error }) => (
        <Badge color={sentAt !== null ? 'teal' : error !== null ? 'red' : 'gray'}>
          {sentAt !== null ? 'sent' : error !== null ? 'not taken' : 'waits'}
        </Badge>
      ),
    },
  ];
  return (
    <Page title="Outbox" about="Messages to people: invitations, confirmations, new passwords.">
      <Stack>
        {head.data?.delivered === false && (
          <Alert variant="light" title="There is no mail server">
            Open a message and pass it on by hand, or set mail.host in the settings.
          </Alert>
        )}
        <PagedTable
          path="/api/outbox"
          label="Messages"
          columns={columns}
          keyOf={({ id }) => id}
          empty={<Empty title="No messages yet" />}
        />
      </Stack>
      <Drawer
        opened={opened !== null}
        onClose={() => setOpened(null)}
        position="right"
        size="lg"
        title={
          <Title order={2} size="h4">
            {opened?.subject ?? ''}
          </Title>
        }
      >
        {opened && (
          <Stack>
            <Group justify="space-between">
              <Text size="sm">To {opened.recipient}</Text>
              <CopyText text={opened.body} label="Copy the text" />
            </Group>
            {opened.error !== null && <Problem error={new Error(opened.error)} />}
            <Code block style={{ whiteSpace: 'pre-wrap' }}>
              {opened.body}
            </Code>
          </Stack>
        )}
      </Drawer>
    </Page>
  );
}
