import { Box, useComputedColorScheme } from '@mantine/core';
import { useElementSize } from '@mantine/hooks';
import { useEffect, useLayoutEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Series {
  readonly label: string;
  readonly color: string;
  /** Which of the two scales it is drawn on. */
  readonly side?: 'left' | 'right';
  readonly values: readonly (number | null)[];
  readonly fill?: boolean;
}

interface TimeChartProps {
  /** What it shows, for those who cannot see it. */
  readonly label: string;
  /** Wall-clock milliseconds, ascending. */
  readonly times: readonly number[];
  readonly series: readonly Series[];
  readonly height?: number;
  readonly left: (value: number) => string;
  readonly right?: (value: number) => string;
  readonly max?: { readonly left?: number; readonly right?: number };
}

/** Lines over time. New values go into the chart that is there; it is built anew only when its form changes. */
export function TimeChart({ label, times, series, height = 180, left, right, max }: TimeChartProps) {
  const { ref: box, width } = useElementSize();
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const scheme = useComputedColorScheme('dark');
  const form = JSON.stringify([series.map((one) => [one.label, one.color, one.side, one.fill]), max, scheme]);
  const newest = useRef({ times, series, left, right, max });
  useLayoutEffect(() => {
    newest.current = { times, series, left, right, max };
  });

  useEffect(() => {
    if (!place.current) return undefined;
    const now = newest.current;
    const [ink, grid] = scheme === 'dark' ? ['#b0a59d', '#37302b'] : ['#5c534d', '#e6e0da'];
    const axis = (side: 'left' | 'right', show: (value: number) => string): uPlot.Axis => ({
      scale: side,
      side: side === 'left' ? 3 : 1,
      size: 62,
      stroke: ink,
      font: '11px system-ui',
      grid: side === 'left' ? { stroke: grid, width: 1 } : { show: false },
      ticks: { show: false },
      values: (_, values) => values.map(show),
    });
    const bound = (most: number | undefined): uPlot.Scale => ({
      range: (_, __, highest) => [0, most ?? Math.max(1, highest * 1.15)],
    });
    const plot = new uPlot(
      {
        width: place.current.clientWidth,
        height,
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { time: true }, left: bound(now.max?.left), right: bound(now.max?.right) },
        axes: [
          {
            stroke: ink,
            font: '11px system-ui',
            grid: { show: false },
            ticks: { show: false },
            space: 80,
            size: 28,
            values: (_, seconds) => timesOf(seconds),
          },
          axis('left', (value) => newest.current.left(value)),
          ...(now.right ? [axis('right', (value) => newest.current.right?.(value) ?? '')] : []),
        ],
        series: [
          {},
          ...now.series.map(({ label: name, color, side = 'left', fill }) => ({
            label: name,
            scale: side,
            stroke: color,
            width: 2,
            points: { show: false },
            ...(fill && { fill: `${color}30` }),
          })),
        ],
      },
      dataOf(now.times, now.series),
      place.current,
    );
    chart.current = plot;
    return () => {
      chart.current = null;
      plot.destroy();
    };
    // Everything else is read when it is needed.
  }, [form, height, scheme]);

  useEffect(() => {
    chart.current?.setData(dataOf(times, series));
  }, [times, series]);
  useEffect(() => {
    if (width > 0) chart.current?.setSize({ width, height });
  }, [width, height]);

  return (
    <Box ref={box} style={{ minHeight: height }}>
      <div ref={place} role="img" aria-label={label} />
    </Box>
  );
}

function dataOf(times: readonly number[], series: readonly Series[]): uPlot.AlignedData {
  return [times.map((at) => at / 1_000), ...series.map(({ values }) => [...values])];
}

/** Times of day, or days where they are at least that far apart. */
function timesOf(seconds: readonly number[]): string[] {
  const stepMs = ((seconds[1] ?? 0) - (seconds[0] ?? 0)) * 1_000;
  const form: Intl.DateTimeFormatOptions =
    stepMs >= 24 * 3_600_000
      ? { day: 'numeric', month: 'short' }
      : {
          hour: '2-digit',
          minute: '2-digit',
          hour12: false,
          ...(stepMs < 60_000 && { second: '2-digit' }),
        };
  return seconds.map((at) => new Date(at * 1_000).toLocaleString('en-GB', form));
}
