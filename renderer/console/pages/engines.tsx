import { Badge, Box, Button, Drawer, Group, Paper, SimpleGrid, Stack, Text, Title } from '@mantine/core';
import { Play, RotateCw, Square } from 'lucide-react';
import { useState } from 'react';
import { Link } from 'wouter';
import { call } from '../../api/client.ts';
import { type LiveView, useLive } from '../../api/live.ts';
import { ActionButton } from '../../ui/actions.tsx';
import { Logs } from '../logs.tsx';
import { moment } from '../../ui/format.ts';
import { Empty, Page } from '../../ui/page.tsx';

type Engine = LiveView['engines'][string];

const healthColors: Readonly<Record<string, string>> = {
  ready: 'teal',
  starting: 'yellow',
  failing: 'red',
  failed: 'red',
  stopped: 'gray',
  unknown: 'gray',
};

export default function EnginesPage() {
  const engines = useLive((state) => state.engines);
  const [logsOf, setLogsOf] = useState<string | null>(null);
  const all = Object.values(engines);
  return (
    <Page
      title="Engines"
      about="The programs that run models. Those that were found running are used, and never ended by Kilnhouse."
      actions={
        <Button component={Link} href="/settings" variant="default">
          Their settings
        </Button>
      }
    >
      {all.length === 0 ? (
        <Empty title="No engine was found">
          Install LM Studio, set the folder of a Stable Diffusion web UI, or put a GGUF file into the models
          folder; then restart.
        </Empty>
      ) : (
        <SimpleGrid cols={{ base: 1, lg: 2 }}>
          {all.map((engine) => (
            <EngineCard key={engine.id} engine={engine} showLogs={() => setLogsOf(engine.id)} />
          ))}
        </SimpleGrid>
      )}
      <Drawer
        opened={logsOf !== null}
        onClose={() => setLogsOf(null)}
        position="right"
        size="xl"
        title={<Title order={2} size="h4">{`Log of ${logsOf ?? ''}`}</Title>}
      >
        {logsOf !== null && <Logs path={`/api/engines/${encodeURIComponent(logsOf)}/logs?last=1000`} />}
      </Drawer>
    </Page>
  );
}

function EngineCard({ engine, showLogs }: { engine: Engine; showLogs: () => void }) {
  const { id, title, health, failure, nextTryAt, ownership, address, version, profile, demo } = engine;
  const does = (action: string) => async () => {
    const { message } = await call<{ message: string }>(
      'POST',
      `/api/engines/${encodeURIComponent(id)}/${action}`,
    );
    return message;
  };
  const facts: readonly (readonly [string, string])[] = [
    ['Process', ownership === 'ours' ? 'started by Kilnhouse' : 'started by others; never ended'],
    ['Version', version ?? 'not said'],
    ['Address', address ?? 'inside the appliance'],
    ['At once', String(profile.slots)],
    ['Profile', profile.name],
  ];
  return (
    <Paper withBorder p="md" component="section" aria-label={title}>
      <Stack gap="sm">
        <Group justify="space-between" wrap="nowrap">
          <Title order={2} size="h4">
            {title}
          </Title>
          <Group gap={6} wrap="nowrap">
            {demo && (
              <Badge variant="outline" color="gray">
                stand-in
              </Badge>
            )}
            <Badge color={healthColors[health] ?? 'gray'}>{health}</Badge>
          </Group>
        </Group>
        <Text size="sm" c="dimmed">
          {profile.reason}
        </Text>
        {failure && (
          <Text size="sm" c="var(--mantine-color-error)" role="alert">
            {failure}
            {nextTryAt !== null && ` Next try at ${moment(nextTryAt)}.`}
          </Text>
        )}
        <Box
          component="dl"
          m={0}
          style={{ display: 'grid', gridTemplateColumns: '90px 1fr', gap: '4px 12px' }}
        >
          {facts.map(([name, value]) => (
            <Box key={name} style={{ display: 'contents' }}>
              <Text component="dt" size="sm" c="dimmed">
                {name}
              </Text>
              <Text component="dd" size="sm" m={0}>
                {value}
              </Text>
            </Box>
          ))}
        </Box>
        <Group gap="xs">
          {health === 'stopped' || health === 'failing' || health === 'failed' ? (
            <ActionButton size="xs" leftSection={<Play aria-hidden size={14} />} work={does('start')}>
              Start
            </ActionButton>
          ) : (
            <ActionButton
              size="xs"
              variant="default"
              leftSection={<Square aria-hidden size={14} />}
              work={does('stop')}
              confirm={{
                title: `Stop ${title}`,
                text: 'Running requests break off. Waiting requests are refused after a minute; jobs wait until you start it again.',
              }}
            >
              Stop
            </ActionButton>
          )}
          <ActionButton
            size="xs"
            variant="default"
            leftSection={<RotateCw aria-hidden size={14} />}
            work={does('restart')}
            confirm={{
              title: `Restart ${title}`,
              text: 'What it works on breaks off, and is tried again where it can be.',
            }}
          >
            Restart
          </ActionButton>
          <Button size="xs" variant="default" onClick={showLogs}>
            Log
          </Button>
        </Group>
      </Stack>
    </Paper>
  );
}
