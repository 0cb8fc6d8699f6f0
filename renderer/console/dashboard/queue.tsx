import { ActionIcon, Badge, Box, Group, Paper, Text, Title, Tooltip } from '@mantine/core';
import { useVirtualizer } from '@tanstack/react-virtual';
import { CircleHelp } from 'lucide-react';
import { memo, useMemo, useRef, useState } from 'react';
import { useLive } from '../../api/live.ts';
import { count, duration } from '../../ui/format.ts';
import { Empty } from '../../ui/page.tsx';
import { useSeconds } from '../../ui/use-seconds.ts';
import { useModelColors } from '../model-colors.ts';
import { type Item, type Lane, lanesOf, type Row, rowsOf } from './lanes.ts';
import styles from './queue.module.css';
import { Why } from './why.tsx';

const reasonWords: Readonly<Record<string, string>> = {
  next_in_line: 'next in line',
  engine_busy: 'others are ahead',
  fair_share: 'others’ turn',
  tenant_concurrency: 'tenant at its limit',
  model_loading: 'model is loading',
  swap_in_progress: 'changing models',
  waiting_for_swap: 'waits for a swap',
  vram_held_by_other: 'memory held by others',
  model_pinned: 'pinned model in the way',
  engine_recovering: 'engine recovering',
  gpu_unreadable: 'card unreadable',
  paused: 'paused',
};

/** What waits, for which model, and why. */
export function Queue() {
  const queue = useLive((state) => state.queue);
  const models = useLive((state) => state.models);
  const rows = useMemo(() => rowsOf(lanesOf({ queue, models })), [queue, models]);
  const [asked, setAsked] = useState<Item | null>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => (rows[index]?.kind === 'lane' ? 44 : 34),
    getItemKey: (index) => rows[index]?.key ?? index,
    overscan: 8,
  });
  const now = useSeconds();
  const waiting = Object.keys(queue).length;
  return (
    <Paper withBorder p="md" component="section" aria-label="Queue">
      <Group justify="space-between" mb="sm">
        <Title order={2} size="h4">
          Queue
        </Title>
        <Text c="dimmed" size="sm" role="status">
          {waiting === 0 ? 'Nobody waits' : `${count(waiting)} waiting`}
        </Text>
      </Group>
      {rows.length === 0 ? (
        <Empty title="Nothing to do">Requests of tenants appear here while they wait and run.</Empty>
      ) : (
        <Box
          ref={scroller}
          className={styles['scroller'] ?? ''}
          style={{ height: Math.min(420, virtual.getTotalSize() + 2) }}
          tabIndex={0}
          role="list"
          aria-label="Work by model"
        >
          <div style={{ height: virtual.getTotalSize(), position: 'relative' }} role="presentation">
            {virtual.getVirtualItems().map(({ index, start, size }) => {
              const row = rows[index];
              return (
                row && (
                  <div
                    key={row.key}
                    role="listitem"
                    className={styles['row']}
                    style={{ transform: `translateY(${start}px)`, height: size }}
                  >
                    <RowView row={row} now={now} ask={setAsked} />
                  </div>
                )
              );
            })}
          </div>
        </Box>
      )}
      <Why asked={asked} close={() => setAsked(null)} />
    </Paper>
  );
}

function RowView({ row, now, ask }: { row: Row; now: number; ask: (item: Item) => void }) {
  if (row.kind === 'lane') return <LaneView lane={row.lane} />;
  const { item, position } = row;
  return (
    <ItemView
      item={item}
      position={position}
      waited={duration(Math.max(0, Math.floor((now - item.since) / 1_000) * 1_000))}
      starts={item.startsAt ? duration(Math.max(0, Math.round((item.startsAt - now) / 1_000) * 1_000)) : '–'}
      ask={ask}
    />
  );
}

function LaneView({ lane: { modelId, phase, running, slots, items } }: { lane: Lane }) {
  const colorOf = useModelColors();
  return (
    <Group gap="sm" wrap="nowrap" className={styles['lane'] ?? ''}>
      <span className={styles['mark']} style={{ backgroundColor: colorOf(modelId) }} />
      <Text fw={650} truncate>
        {modelId}
      </Text>
      <Badge color={phase === 'ready' ? 'teal' : 'gray'}>{phase === 'absent' ? 'not loaded' : phase}</Badge>
      <Text size="sm" c="dimmed" style={{ whiteSpace: 'nowrap' }}>
        {running} of {slots} running · {items.length} waiting
      </Text>
    </Group>
  );
}

const ItemView = memo(function ItemView({
  item,
  position,
  waited,
  starts,
  ask,
}: {
  item: Item;
  position: number;
  waited: string;
  starts: string;
  ask: (item: Item) => void;
}) {
  return (
    <div className={styles['item']}>
      <Text size="xs" c="dimmed" ta="right">
        {position}
      </Text>
      <Text size="sm" truncate>
        {item.tenantName}
      </Text>
      <Text size="sm" c="dimmed" truncate visibleFrom="xs">
        {item.feature || item.lane}
      </Text>
      <Text size="sm">{waited}</Text>
      <Text size="sm" visibleFrom="xs">
        in {starts}
      </Text>
      <Text size="sm" c="dimmed" truncate visibleFrom="sm">
        {reasonWords[item.reason] ?? item.reason}
      </Text>
      <Tooltip label="Why is this waiting?">
        <ActionIcon
          variant="subtle"
          color="gray"
          size="sm"
          aria-label={`Why is number ${position}, of ${item.tenantName}, waiting?`}
          onClick={() => ask(item)}
        >
          <CircleHelp aria-hidden size={16} />
        </ActionIcon>
      </Tooltip>
    </div>
  );
});
