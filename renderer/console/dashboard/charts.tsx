import { Group, Paper, SimpleGrid, Text, Title, Tooltip, UnstyledButton } from '@mantine/core';
import { useEffect, useMemo, useState } from 'react';
import type { Static } from 'typebox';
import type { HistoryView, TrafficView } from '../../../server/contract/console.ts';
import { live, useLive } from '../../api/live.ts';
import { useGet } from '../../api/queries.ts';
import { bytes, count, percent } from '../../ui/format.ts';
import { type Series, TimeChart } from '../../ui/time-chart.tsx';

type Sample = Static<typeof HistoryView>['samples'][number];

const kept = 600;
const colors = { memory: '#3f8fd2', use: '#ee7d26', tokens: '#8e6bd0', requests: '#2f9e76' } as const;

/** Use and memory of the card, what it draws, and what tenants ask for. */
export function Charts() {
  return (
    <SimpleGrid cols={{ base: 1, lg: 2 }}>
      <Card />
      <Traffic />
    </SimpleGrid>
  );
}

function Card() {
  const machine = useLive((state) => state.machine);
  const totalBytes = useLive(({ gpu }) => gpu.totalBytes);
  const before = useGet<Static<typeof HistoryView>>('/api/telemetry');
  const [since, setSince] = useState<readonly Sample[]>([]);
  useEffect(
    () =>
      live.subscribe(({ state }) => {
        if (!state?.machine) return;
        const { at, card } = state.machine;
        const sample = {
          at,
          usedBytes: card?.usedBytes ?? null,
          utilization: card?.utilization ?? null,
          temperatureC: card?.temperatureC ?? null,
          powerWatts: card?.powerWatts ?? null,
        };
        setSince((all) => (all.at(-1)?.at === at ? all : [...all, sample].slice(-kept)));
      }),
    [],
  );
  const { times, series } = useMemo(() => {
    const first = since[0]?.at ?? Infinity;
    const all = [...(before.data?.samples ?? []).filter((sample) => sample.at < first), ...since].slice(
      -kept,
    );
    const lines: Series[] = [
      { label: 'Memory', color: colors.memory, fill: true, values: all.map(({ usedBytes }) => usedBytes) },
      {
        label: 'Use',
        color: colors.use,
        side: 'right',
        values: all.map(({ utilization }) => (utilization === null ? null : utilization * 100)),
      },
    ];
    return { times: all.map((sample) => sample.at), series: lines };
  }, [before.data, since]);
  const card = machine?.card;
  return (
    <Paper withBorder p="md" component="section" aria-label="The card">
      <Group justify="space-between" mb="xs">
        <Title order={2} size="h4">
          The card
        </Title>
        <Group gap="md">
          <Figure name="Use" value={percent(card?.utilization)} color={colors.use} />
          <Figure name="Memory" value={bytes(card?.usedBytes)} color={colors.memory} />
          <Figure name="Heat" value={card?.temperatureC ? `${card.temperatureC} °C` : '–'} />
          <Figure
            name="Power"
            value={
              card?.powerWatts
                ? `${Math.round(card.powerWatts)}${card.powerLimitWatts ? ` of ${Math.round(card.powerLimitWatts)}` : ''} W`
                : '–'
            }
          />
        </Group>
      </Group>
      <TimeChart
        label={`Memory and use of the card over the last minutes; now ${bytes(card?.usedBytes)} and ${percent(card?.utilization)}`}
        times={times}
        series={series}
        left={(value) => bytes(value)}
        right={(value) => `${Math.round(value)} %`}
        max={{ left: totalBytes, right: 100 }}
      />
    </Paper>
  );
}

function Traffic() {
  const { data } = useGet<Static<typeof TrafficView>>('/api/traffic', { everyMs: 10_000 });
  const minutes = useMemo(() => data?.minutes ?? [], [data]);
  const last = minutes.at(-2);
  const refusals = (data?.refusals ?? [])
    .slice(0, 3)
    .map((one) => `${one.code.replaceAll('_', ' ')} ${count(one.count)}`)
    .join(', ');
  const { times, series } = useMemo(() => {
    const lines: Series[] = [
      {
        label: 'Requests',
        color: colors.requests,
        fill: true,
        values: minutes.map(({ requests }) => requests),
      },
      { label: 'Tokens', color: colors.tokens, side: 'right', values: minutes.map(({ tokens }) => tokens) },
    ];
    return { times: minutes.map(({ at }) => at), series: lines };
  }, [minutes]);
  return (
    <Paper withBorder p="md" component="section" aria-label="Traffic">
      <Group justify="space-between" mb="xs">
        <Title order={2} size="h4">
          Traffic by the minute
        </Title>
        <Group gap="md">
          <Figure name="Requests" value={count(last?.requests ?? 0)} color={colors.requests} />
          <Figure name="Tokens" value={count(last?.tokens ?? 0)} color={colors.tokens} />
          <Figure name="Pictures" value={count(last?.images ?? 0)} />
          <Figure name="Failed" value={count(last?.failed ?? 0)} />
          <Tooltip
            events={{ hover: true, focus: true, touch: true }}
            label={
              refusals === ''
                ? 'Nobody was refused in the last hour.'
                : `Refused in the last hour: ${refusals}.`
            }
          >
            <UnstyledButton>
              <Figure name="Refused" value={count(last?.refused ?? 0)} />
            </UnstyledButton>
          </Tooltip>
        </Group>
      </Group>
      <TimeChart
        label={`Requests and tokens by the minute over the last hour; in the last full minute ${last?.requests ?? 0} requests and ${last?.tokens ?? 0} tokens`}
        times={times}
        series={series}
        left={(value) => count(Math.round(value))}
        right={(value) => count(Math.round(value))}
      />
    </Paper>
  );
}

function Figure({ name, value, color }: { name: string; value: string; color?: string }) {
  return (
    <div>
      <Text size="xs" c="dimmed">
        {color !== undefined && (
          <span
            aria-hidden
            style={{
              display: 'inline-block',
              width: 8,
              height: 8,
              borderRadius: 3,
              marginRight: 5,
              background: color,
            }}
          />
        )}
        {name}
      </Text>
      <Text size="sm" fw={600}>
        {value}
      </Text>
    </div>
  );
}
