import { Group, Paper, Text, Title, Tooltip } from '@mantine/core';
import { useMemo } from 'react';
import { useLive } from '../../api/live.ts';
import { bytes } from '../../ui/format.ts';
import { useModelColors } from '../model-colors.ts';
import { type Segment, segmentsOf } from './memory.ts';
import styles from './vram-bar.module.css';

const phases: Readonly<Record<string, string>> = {
  loading: 'loading',
  draining: 'finishing its work',
  unloading: 'leaving',
};

function wordsOf({ label, bytes: size, phase }: Segment): string {
  const doing = phase === null ? undefined : phases[phase];
  return `${label}: ${bytes(size)}${doing === undefined ? '' : `, ${doing}`}`;
}

/** The card's memory, and what it is taken by. */
export function VramBar() {
  const gpu = useLive((state) => state.gpu);
  const models = useLive((state) => state.models);
  const machine = useLive((state) => state.machine);
  const colorOf = useModelColors();
  const segments = useMemo(
    () => segmentsOf({ gpu, models, machine }, colorOf),
    [gpu, models, machine, colorOf],
  );
  const total = segments.reduce((sum, segment) => sum + segment.bytes, 0) || 1;
  const name = machine?.card?.name ?? (gpu.declared ? 'No card is read: memory as declared' : 'The card');
  return (
    <Paper withBorder p="md" component="section" aria-label="Video memory">
      <Group justify="space-between" mb="sm">
        <Title order={2} size="h4">
          Video memory
        </Title>
        <Text c="dimmed" size="sm">
          {name} · {bytes(gpu.totalBytes)}
        </Text>
      </Group>
      <div
        className={styles['bar']}
        role="img"
        aria-label={`Video memory. ${segments.map(wordsOf).join('. ')}.`}
      >
        {segments.map((segment) => (
          <Tooltip key={segment.key} label={wordsOf(segment)}>
            <div
              className={styles['segment']}
              data-kind={segment.kind}
              data-phase={segment.phase ?? undefined}
              style={{
                flexGrow: segment.bytes / total,
                ...(segment.color !== null && { backgroundColor: segment.color }),
              }}
            >
              {segment.bytes / total > 0.12 && <span>{segment.label}</span>}
            </div>
          </Tooltip>
        ))}
      </div>
      <Group gap="lg" mt="sm" component="ul" p={0} m={0} style={{ listStyle: 'none' }}>
        {segments.map((segment) => (
          <Group key={segment.key} gap={6} component="li" wrap="nowrap">
            <span
              className={styles['dot']}
              data-kind={segment.kind}
              style={segment.color === null ? undefined : { backgroundColor: segment.color }}
            />
            <Text size="sm">
              {segment.label}{' '}
              <Text span fw={600}>
                {bytes(segment.bytes)}
              </Text>
              {segment.phase !== null && phases[segment.phase] !== undefined && (
                <Text span c="dimmed">{` · ${phases[segment.phase]}`}</Text>
              )}
            </Text>
          </Group>
        ))}
      </Group>
    </Paper>
  );
}
