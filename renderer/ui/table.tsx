import { Box, Text } from '@mantine/core';
import { useVirtualizer } from '@tanstack/react-virtual';
import { type ReactNode, useEffect, useRef } from 'react';
import { Empty } from './page.tsx';
import styles from './table.module.css';

export interface Column<Row> {
  readonly title: string;
  /** A width for CSS grid: 1fr, 120px, minmax(80px, 2fr). */
  readonly width?: string;
  readonly end?: boolean;
  readonly show: (row: Row) => ReactNode;
}

interface TableProps<Row> {
  /** What it is, for those who cannot see it. */
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string | number;
  readonly empty: ReactNode;
  /** Asks for more when its end comes into sight. */
  readonly more?: (() => void) | undefined;
  readonly rowHeight?: number;
  readonly maxHeight?: number | string;
}

/** Rows under each other, of which only those in sight are drawn: ten thousand scroll like ten. */
export function Table<Row>({
  label,
  columns,
  rows,
  keyOf,
  empty,
  more,
  rowHeight = 44,
  maxHeight = '68vh',
}: TableProps<Row>) {
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: 12,
  });
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? -1;
  useEffect(() => {
    if (more && last >= rows.length - 5) more();
  }, [more, last, rows.length]);
  if (rows.length === 0) return typeof empty === 'string' ? <Empty title={empty} /> : empty;
  const template = columns
    .map(({ width = '1fr' }) => (width === '1fr' ? 'minmax(90px, 1fr)' : width))
    .join(' ');
  return (
    <Box
      ref={scroller}
      className={styles['scroller'] ?? ''}
      style={{ maxHeight }}
      tabIndex={0}
      role="table"
      aria-label={label}
      aria-rowcount={rows.length + 1}
    >
      <div role="rowgroup" className={styles['head']}>
        <div role="row" aria-rowindex={1} className={styles['row']} style={{ gridTemplateColumns: template }}>
          {columns.map(({ title, end }) => (
            <Text key={title} role="columnheader" size="xs" fw={600} c="dimmed" ta={end ? 'right' : 'left'}>
              {title}
            </Text>
          ))}
        </div>
      </div>
      <div role="rowgroup" style={{ height: virtual.getTotalSize(), position: 'relative' }}>
        {items.map(({ index, start }) => {
          const row = rows[index];
          if (row === undefined) return null;
          return (
            <div
              role="row"
              key={keyOf(row)}
              aria-rowindex={index + 2}
              className={`${styles['row']} ${styles['line']}`}
              style={{
                gridTemplateColumns: template,
                height: rowHeight,
                transform: `translateY(${start}px)`,
              }}
            >
              {columns.map(({ title, show, end }) => (
                <Text key={title} role="cell" size="sm" component="div" truncate ta={end ? 'right' : 'left'}>
                  {show(row)}
                </Text>
              ))}
            </div>
          );
        })}
      </div>
    </Box>
  );
}
