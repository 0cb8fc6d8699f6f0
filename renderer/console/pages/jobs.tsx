import {
  Badge,
  Code,
  Drawer,
  Group,
  Progress,
  Select,
  Stack,
  Text,
  Title,
  UnstyledButton,
} from '@mantine/core';
import { useState } from 'react';
import type { Static } from 'typebox';
import type { JobDetailView, OperatorJobView } from '../../../server/contract/console.ts';
import { call } from '../../api/client.ts';
import { useGet } from '../../api/queries.ts';
import { ActionButton } from '../../ui/actions.tsx';
import { bytes, duration, moment, percent } from '../../ui/format.ts';
import { Empty, Loaded, Page } from '../../ui/page.tsx';
import { PagedTable } from '../../ui/paged-table.tsx';
import type { Column } from '../../ui/table.tsx';

type Job = Static<typeof OperatorJobView>;

const states = ['queued', 'starting', 'processing', 'succeeded', 'failed', 'canceled', 'expired'] as const;
const colors: Readonly<Record<string, string>> = {
  queued: 'gray',
  starting: 'yellow',
  processing: 'yellow',
  succeeded: 'teal',
  failed: 'red',
};

export default function JobsPage() {
  const [state, setState] = useState<string | null>(null);
  const [opened, setOpened] = useState<string | null>(null);
  const columns: readonly Column<Job>[] = [
    {
      title: 'Job',
      width: 'minmax(150px, 1.4fr)',
      show: ({ id, feature }) => (
        <UnstyledButton
          fz="sm"
          fw={600}
          td="underline"
          onClick={() => setOpened(id)}
          aria-label={`${feature} ${id}`}
        >
          {feature}
        </UnstyledButton>
      ),
    },
    { title: 'Tenant', show: ({ tenantName }) => tenantName },
    { title: 'Model', show: ({ model }) => model },
    {
      title: 'State',
      width: '110px',
      show: (job) => <Badge color={colors[job.state] ?? 'gray'}>{job.state}</Badge>,
    },
    { title: 'Progress', width: '80px', end: true, show: ({ progress }) => percent(progress) },
    {
      title: 'Credits',
      width: '80px',
      end: true,
      show: ({ credits }) => credits.charged ?? `≤ ${credits.held}`,
    },
    { title: 'Asked', width: '130px', show: ({ createdAt }) => moment(createdAt) },
  ];
  return (
    <Page
      title="Jobs"
      about="Work that outlives the connection. What was asked and what came out belongs to the tenants, and is not opened here."
      actions={
        <Select
          aria-label="State"
          placeholder="All states"
          data={[...states]}
          value={state}
          onChange={setState}
          clearable
          w={160}
        />
      }
    >
      <PagedTable
        path="/api/jobs"
        filter={{ state: state ?? undefined }}
        label="Jobs"
        columns={columns}
        keyOf={({ id }) => id}
        empty={<Empty title={state === null ? 'No jobs yet' : `No jobs are ${state}`} />}
      />
      <Drawer
        opened={opened !== null}
        onClose={() => setOpened(null)}
        position="right"
        size="lg"
        title={
          <Title order={2} size="h4">
            A job
          </Title>
        }
      >
        {opened !== null && <Detail id={opened} />}
      </Drawer>
    </Page>
  );
}

function Detail({ id }: { id: string }) {
  const query = useGet<Static<typeof JobDetailView>>(`/api/jobs/${id}`, { everyMs: 2_000 });
  return (
    <Loaded query={query}>
      {({ job, artefacts, events }) => {
        const isOpen = ['queued', 'starting', 'processing'].includes(job.state);
        return (
          <Stack>
            <Code>{job.id}</Code>
            <Text>
              <b>{job.feature}</b> of <b>{job.tenantName}</b> on <b>{job.model}</b>: {job.state}
              {job.error && `, ${job.error.message}`}
            </Text>
            {isOpen && <Progress value={job.progress * 100} aria-label="Progress" />}
            {job.queue && (
              <Text size="sm" c="dimmed">
                Number {job.queue.position} in its line; starts in {duration(job.queue.etaMs)} (
                {job.queue.reason.replaceAll('_', ' ')}).
              </Text>
            )}
            <Text size="sm" c="dimmed">
              {job.gpuSeconds.toFixed(1)} s of the GPU · attempt {job.attempts} · engine failures{' '}
              {job.engineFailures} · interrupted {job.interruptions} times ·{' '}
              {job.credits.charged === null
                ? `${job.credits.held} credits held`
                : `${job.credits.charged} credits charged`}
            </Text>
            <Group>
              {isOpen && (
                <ActionButton
                  variant="default"
                  work={async () => {
                    await call('POST', `/api/jobs/${id}/cancel`);
                    return 'Canceled. What it had finished is charged.';
                  }}
                  confirm={{
                    title: 'Cancel the job',
                    text: 'That is final. What it had finished is charged.',
                  }}
                >
                  Cancel
                </ActionButton>
              )}
              {job.state === 'failed' && (
                <ActionButton
                  work={async () => {
                    await call('POST', `/api/jobs/${id}/retry`);
                    return 'It is asked for once more.';
                  }}
                >
                  Try it again
                </ActionButton>
              )}
            </Group>
            <Title order={3} size="h5">
              Results
            </Title>
            {artefacts.length === 0 ? (
              <Text size="sm" c="dimmed">
                None.
              </Text>
            ) : (
              artefacts.map((one) => (
                <Text key={one.id} size="sm">
                  {one.name}{' '}
                  <Text span c="dimmed" size="sm">
                    {one.contentType}, {bytes(one.bytes)}
                  </Text>
                </Text>
              ))
            )}
            <Title order={3} size="h5">
              What happened
            </Title>
            {events.map(({ sequence, type, at }) => (
              <Text key={sequence} size="sm">
                <Text span c="dimmed" size="sm">
                  {moment(at)}
                </Text>{' '}
                {type}
              </Text>
            ))}
          </Stack>
        );
      }}
    </Loaded>
  );
}
