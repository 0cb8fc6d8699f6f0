import { Box } from '@mantine/core';
import { useVirtualizer } from '@tanstack/react-virtual';
import { memo, type ReactNode, useEffect, useRef } from 'react';
import { Empty } from './page.tsx';
import styles from './table.module.css';

export interface Column<Row> {
  readonly title: string;
  /** A width for CSS grid: 1fr, 120px, minmax(80px, 2fr). */
  readonly width?: string;
  readonly end?: boolean;
  readonly show: (row: Row) => ReactNode;
}

export interface TableProps<Row> {
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
            <div key={title} role="columnheader" className={styles['title']} data-end={end}>
              {title}
            </div>
          ))}
        </div>
      </div>
      <div role="rowgroup" style={{ height: virtual.getTotalSize(), position: 'relative' }}>
        {items.map(({ index, start }) => {
          const row = rows[index];
          if (row === undefined) return null;
          return (
            <Line
              key={keyOf(row)}
              row={row}
              columns={columns as readonly Column<unknown>[]}
              index={index}
              start={start}
              height={rowHeight}
              template={template}
            />
          );
        })}
      </div>
    </Box>
  );
}

/** Drawn once while it is in sight, however much is scrolled past it. */
const Line = memo(function Line({
  row,
  columns,
  index,
  start,
  height,
  template,
}: {
  row: unknown;
  columns: readonly Column<unknown>[];
  index: number;
  start: number;
  height: number;
  template: string;
}) {
  return (
    <div
      role="row"
      aria-rowindex={index + 2}
      className={`${styles['row']} ${styles['line']}`}
      style={{ gridTemplateColumns: template, height, transform: `translateY(${start}px)` }}
    >
      {columns.map(({ title, show, end }) => (
        <div key={title} role="cell" className={styles['cell']} data-end={end}>
          {show(row)}
        </div>
      ))}
    </div>
  );
});
