import {
  Badge,
  createTheme,
  type CSSVariablesResolver,
  Drawer,
  type MantineColorsTuple,
  Modal,
  Notification,
  Paper,
} from '@mantine/core';

/** The glow of a kiln: what can be pressed, and what is at work. */
const ember: MantineColorsTuple = [
  '#fff4ea',
  '#ffe6d2',
  '#fbcaa3',
  '#f8ac71',
  '#f59347',
  '#ee7d26',
  '#ba580d',
  '#a94f0c',
  '#8b4110',
  '#6f350f',
];

/** Warm greys, from text on dark to the darkest ground. */
const dark: MantineColorsTuple = [
  '#efe9e4',
  '#d3cac3',
  '#b0a59d',
  '#8d827a',
  '#574e48',
  '#453d38',
  '#322c28',
  '#25201d',
  '#1b1715',
  '#120f0e',
];

export const theme = createTheme({
  primaryColor: 'ember',
  // White can be read on it.
  primaryShade: 6,
  colors: { ember, dark },
  defaultRadius: 'md',
  fontFamily: 'Inter, "Segoe UI", system-ui, -apple-system, sans-serif',
  fontFamilyMonospace: '"JetBrains Mono", "Cascadia Mono", ui-monospace, monospace',
  headings: { fontWeight: '650' },
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    Badge: Badge.extend({ defaultProps: { tt: 'none', variant: 'light' } }),
    // What is on the ground stands out from it.
    Paper: Paper.extend({ defaultProps: { bg: 'var(--kilnhouse-surface)' } }),
    Modal: Modal.extend({ defaultProps: { closeButtonProps: { 'aria-label': 'Close' } } }),
    Notification: Notification.extend({ defaultProps: { closeButtonProps: { 'aria-label': 'Close' } } }),
    Drawer: Drawer.extend({ defaultProps: { closeButtonProps: { 'aria-label': 'Close' } } }),
  },
});

/** Text of light badges and alerts, dark enough on its pale ground. */
const lightInk = Object.fromEntries(
  Object.entries({
    teal: '#0a5c45',
    yellow: '#744b00',
    red: '#a01f1f',
    blue: '#1a4f85',
    gray: '#4d4641',
    ember: '#8b4110',
  }).flatMap(([name, ink]) => [
    [`--mantine-color-${name}-light-color`, ink],
    [`--mantine-color-${name}-outline`, ink],
  ]),
);

/** The ground of buttons that destroy something, on which white can be read. */
const redGround = {
  '--mantine-color-red-filled': '#c92a2a',
  '--mantine-color-red-filled-hover': '#b02525',
};

/** What Mantine's own colours are too pale for. */
export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-dimmed': '#5f5751',
    '--mantine-color-placeholder': '#6b635d',
    '--mantine-color-body': '#faf7f4',
    '--mantine-color-default': '#ffffff',
    '--kilnhouse-surface': '#ffffff',
    '--mantine-color-error': '#b42323',
    ...lightInk,
    ...redGround,
  },
  dark: {
    '--mantine-color-body': '#151210',
    '--kilnhouse-surface': '#211c19',
    '--mantine-color-error': '#ff8787',
    ...redGround,
  },
});

/** The colours of models in charts: told apart from each other in both schemes, also by most who see few colours. */
const modelColors = [
  '#ee7d26',
  '#3f8fd2',
  '#8e6bd0',
  '#2f9e76',
  '#c9507b',
  '#b8902a',
  '#5d7f8c',
  '#a3573d',
] as const;

/** The colour of each name, the same wherever it is shown; as many as there are colours are told apart. Pure. */
export function colorsOf(names: readonly string[]): (name: string) => string {
  const places = new Map(names.toSorted().map((name, index) => [name, index]));
  return (name) => modelColors[(places.get(name) ?? 0) % modelColors.length] ?? modelColors[0];
}
