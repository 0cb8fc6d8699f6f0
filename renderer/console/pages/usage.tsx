import { Paper, SegmentedControl, SimpleGrid, Stack, Text, Title } from '@mantine/core';
import { useMemo, useState } from 'react';
import type { Static } from 'typebox';
import type { OperatorUsageReport } from '../../../server/contract/platform.ts';
import { useGet } from '../../api/queries.ts';
import { count, duration, percent } from '../../ui/format.ts';
import { Loaded, Page } from '../../ui/page.tsx';
import { type Column, Table } from '../../ui/table.tsx';
import { TimeChart } from '../../ui/time-chart.tsx';
import { TenantSelect } from '../tenant-select.tsx';

type Report = Static<typeof OperatorUsageReport>;
type Line = Report['byModel'][number];

export default function UsagePage() {
  const [days, setDays] = useState('30');
  const [tenant, setTenant] = useState<string | null>(null);
  const of = tenant === null ? '' : `&tenant=${encodeURIComponent(tenant)}`;
  const query = useGet<Report>(`/api/usage?days=${days}${of}`, { everyMs: 30_000 });
  return (
    <Page
      title="Usage"
      about="What tenants used: requests, tokens, pictures and seconds of the GPU."
      actions={
        <>
          <TenantSelect value={tenant} onChange={setTenant} />
          <SegmentedControl
            aria-label="How far back"
            value={days}
            onChange={setDays}
            data={[
              { value: '7', label: '7 days' },
              { value: '30', label: '30 days' },
              { value: '90', label: '90 days' },
            ]}
          />
        </>
      }
    >
      <Loaded query={query}>{(report) => <Shown report={report} />}</Loaded>
    </Page>
  );
}

function Shown({ report }: { report: Report }) {
  const { totals, byDay, byModel, byFeature, byTenant } = report;
  const { times, series } = useMemo(() => {
    const ordered = everyDay(report, byDay);
    return {
      times: ordered.map(({ at }) => at),
      series: [
        { label: 'Requests', color: '#2f9e76', fill: true, values: ordered.map(({ requests }) => requests) },
        {
          label: 'GPU seconds',
          color: '#ee7d26',
          side: 'right' as const,
          values: ordered.map(({ gpuSeconds }) => gpuSeconds),
        },
      ],
    };
  }, [report, byDay]);
  const figures: readonly (readonly [string, string])[] = [
    ['Requests', count(totals.requests)],
    ['Succeeded', percent(totals.successRate)],
    ['Mean time', duration(totals.meanMs)],
    ['Tokens', count(totals.promptTokens + totals.completionTokens)],
    ['Pictures', count(totals.images)],
    ['GPU time', duration(totals.gpuSeconds * 1_000)],
    ['Credits', count(totals.credits)],
  ];
  return (
    <Stack>
      <SimpleGrid cols={{ base: 2, sm: 4, lg: 7 }}>
        {figures.map(([name, value]) => (
          <Paper key={name} withBorder p="sm">
            <Text size="xs" c="dimmed">
              {name}
            </Text>
            <Text fw={700} size="lg">
              {value}
            </Text>
          </Paper>
        ))}
      </SimpleGrid>
      <Paper withBorder p="md" component="section" aria-label="By day">
        <Title order={2} size="h4">
          By day
        </Title>
        <Text size="xs" c="dimmed" mb="xs">
          Requests in green, seconds of the GPU in orange. Days of {report.timeZone}.
        </Text>
        <TimeChart
          label={`Requests and GPU seconds of ${byDay.length} days`}
          times={times}
          series={series}
          left={(value) => count(Math.round(value))}
          right={(value) => `${count(Math.round(value))} s`}
        />
      </Paper>
      <Lines title="By tenant" lines={byTenant} />
      <Lines title="By model" lines={byModel} />
      <Lines title="By feature" lines={byFeature} />
    </Stack>
  );
}

const dayMs = 24 * 3_600_000;

/** Days without anything, too. Each lies at the browser's midnight, so that the axis shows its date. */
function everyDay(
  { from, until }: Pick<Report, 'from' | 'until'>,
  byDay: readonly Line[],
): { at: number; requests: number; gpuSeconds: number }[] {
  const byName = new Map(byDay.map((line) => [line.name, line]));
  const days: { at: number; requests: number; gpuSeconds: number }[] = [];
  // Counted in UTC, where every day is as long as the next.
  for (let at = Date.parse(from); at <= Date.parse(until); at += dayMs) {
    const day = new Date(at).toISOString().slice(0, 10);
    const { requests = 0, gpuSeconds = 0 } = byName.get(day) ?? {};
    days.push({ at: Date.parse(`${day}T00:00`), requests, gpuSeconds });
  }
  return days;
}

/** What a line is called: the title of a tenant, the name of anything else. */
const nameOf = (line: Line | Report['byTenant'][number]): string =>
  'title' in line ? line.title : line.name;

const columns: readonly Column<Line>[] = [
  {
    title: 'Name',
    width: 'minmax(140px, 2fr)',
    // What was refused for the rate was not read, so nobody knows its model.
    show: (line) => nameOf(line) || 'not read',
  },
  { title: 'Requests', end: true, show: ({ requests }) => count(requests) },
  { title: 'Succeeded', end: true, show: ({ successRate }) => percent(successRate) },
  { title: 'Mean time', end: true, show: ({ meanMs }) => duration(meanMs) },
  {
    title: 'Tokens',
    end: true,
    show: ({ promptTokens, completionTokens }) => count(promptTokens + completionTokens),
  },
  { title: 'Pictures', end: true, show: ({ images }) => count(images) },
  { title: 'GPU time', end: true, show: ({ gpuSeconds }) => duration(gpuSeconds * 1_000) },
  { title: 'Credits', end: true, show: ({ credits }) => count(credits) },
];

function Lines({ title, lines }: { title: string; lines: readonly Line[] }) {
  return (
    <section>
      <Title order={2} size="h4" mb="xs">
        {title}
      </Title>
      <Table
        label={title}
        columns={columns}
        rows={lines}
        keyOf={({ name }) => name}
        empty="Nothing yet"
        maxHeight={360}
      />
    </section>
  );
}
