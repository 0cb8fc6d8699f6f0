import { Group, Paper, Text, Title, Tooltip } from '@mantine/core';
import { useMemo } from 'react';
import { useLive } from '../../api/live.ts';
import { useGet } from '../../api/queries.ts';
import { duration, moment } from '../../ui/format.ts';
import { Empty } from '../../ui/page.tsx';
import { useSeconds } from '../../ui/use-seconds.ts';
import { useModelColors } from '../model-colors.ts';
import { residenciesOf, type Span, type Step } from './residencies.ts';
import styles from './timeline.module.css';

/** How far back it goes: as far as there is something to see, within these. */
const reach = { leastMs: 2 * 60_000, mostMs: 15 * 60_000 } as const;
const kinds = { loading: 'loading', resident: 'on the card', leaving: 'leaving' } as const;

/** Which models were on the card lately, and what changing them cost. */
export function Timeline() {
  const recent = useLive(({ decisions }) => decisions);
  const record = useGet<Step[]>('/api/decisions');
  const now = useSeconds();
  const spans = useMemo(() => {
    const steps = new Map<number, Step>();
    for (const step of record.data ?? []) steps.set(step.sequence, step);
    for (const step of Object.values(recent)) steps.set(step.sequence, step);
    return residenciesOf([...steps.values()].toSorted((a, b) => a.sequence - b.sequence));
  }, [record.data, recent]);
  const first = spans.reduce((least, span) => Math.min(least, span.from), now);
  const windowMs = Math.min(reach.mostMs, Math.max(reach.leastMs, now - first));
  const from = now - windowMs;
  const minutes = Math.round(windowMs / 60_000);
  const shown = spans.filter(({ to }) => to === null || to > from);
  const models = [...new Set(shown.map(({ modelId }) => modelId))].toSorted();
  const swaps = shown.filter(({ kind, tookMs }) => kind === 'loading' && tookMs !== null);
  const spentMs = shown.reduce((sum, { kind, tookMs }) => sum + (kind === 'resident' ? 0 : (tookMs ?? 0)), 0);
  return (
    <Paper withBorder p="md" component="section" aria-label="Swaps">
      <Group justify="space-between" mb="sm">
        <Title order={2} size="h4">
          Swaps
        </Title>
        <Text c="dimmed" size="sm">
          {swaps.length} {swaps.length === 1 ? 'load' : 'loads'} in {minutes} minutes, {duration(spentMs)} in
          all
        </Text>
      </Group>
      {models.length === 0 ? (
        <Empty title="No model was loaded lately" />
      ) : (
        models.map((modelId) => (
          <div key={modelId} className={styles['lane']}>
            <Text size="sm" truncate>
              {modelId}
            </Text>
            <div className={styles['track']} role="img" aria-label={describe(modelId, shown, minutes)}>
              {shown
                .filter((span) => span.modelId === modelId)
                .map((span) => (
                  <Bar key={`${span.kind}${span.from}`} span={span} from={from} now={now} />
                ))}
            </div>
          </div>
        ))
      )}
      <div className={styles['lane']} aria-hidden>
        <span />
        <Group justify="space-between">
          <Text size="xs" c="dimmed">
            {minutes} min ago
          </Text>
          <Text size="xs" c="dimmed">
            now
          </Text>
        </Group>
      </div>
    </Paper>
  );
}

function Bar({ span, from, now }: { span: Span; from: number; now: number }) {
  const windowMs = now - from;
  const colorOf = useModelColors();
  const [start, end] = [Math.max(span.from, from), span.to ?? now];
  const took = span.tookMs === null ? '' : `, ${duration(span.tookMs)}`;
  return (
    <Tooltip label={`${span.modelId}: ${kinds[span.kind]} from ${moment(span.from)}${took}`}>
      <div
        className={styles['bar']}
        data-kind={span.kind}
        style={{
          left: `${((start - from) / windowMs) * 100}%`,
          width: `${(Math.max(0, end - start) / windowMs) * 100}%`,
          backgroundColor: colorOf(span.modelId),
        }}
      />
    </Tooltip>
  );
}

function describe(modelId: string, spans: readonly Span[], minutes: number): string {
  const own = spans.filter((span) => span.modelId === modelId);
  const loads = own.filter(({ kind }) => kind === 'loading').length;
  const isThere = own.some(({ kind, to }) => kind === 'resident' && to === null);
  return `${modelId}: ${loads} loads in ${minutes} minutes; ${isThere ? 'on the card now' : 'not on the card now'}`;
}
