import { lazy, Suspense, useEffect } from 'react';
import { Redirect, Route, Router, Switch } from 'wouter';
import { useHashLocation } from 'wouter/use-hash-location';
import { useStore } from 'zustand';
import { follow, live } from '../api/live.ts';
import { session } from '../api/session.ts';
import { Waiting } from '../ui/page.tsx';
import { Frame } from './frame.tsx';
import { Dashboard } from './dashboard/dashboard.tsx';
import { EnterPage } from './pages/enter.tsx';

/* All but the first screen comes when it is looked at. */
const pages = {
  '/engines': lazy(() => import('./pages/engines.tsx')),
  '/models': lazy(() => import('./pages/models.tsx')),
  '/tenants': lazy(() => import('./pages/tenants.tsx')),
  '/tenants/:id': lazy(() => import('./pages/tenant.tsx')),
  '/jobs': lazy(() => import('./pages/jobs.tsx')),
  '/usage': lazy(() => import('./pages/usage.tsx')),
  '/offers': lazy(() => import('./pages/offers.tsx')),
  '/ledger': lazy(() => import('./pages/ledger.tsx')),
  '/network': lazy(() => import('./pages/network.tsx')),
  '/webhooks': lazy(() => import('./pages/webhooks.tsx')),
  '/outbox': lazy(() => import('./pages/outbox.tsx')),
  '/audit': lazy(() => import('./pages/audit.tsx')),
  '/backups': lazy(() => import('./pages/backups.tsx')),
  '/settings': lazy(() => import('./pages/settings.tsx')),
  '/about': lazy(() => import('./pages/about.tsx')),
  '/setup': lazy(() => import('./setup/setup.tsx')),
};

export function App() {
  const isIn = useStore(session, ({ token }) => token !== null);
  return (
    // oxlint-disable-next-line react/hooks -- that is how wouter is told where the address is
    <Router hook={useHashLocation}>
      <Switch>
        <Route path="/enter/:code">{({ code }) => <EnterPage code={code} />}</Route>
        <Route>{isIn ? <Inside /> : <EnterPage code={null} />}</Route>
      </Switch>
    </Router>
  );
}

/** Whoever is in sees the pages once the state is there. */
function Inside() {
  const token = useStore(session, (state) => state.token);
  const hasState = useStore(live, ({ state }) => state !== null);
  useEffect(() => (token === null ? undefined : follow(token)), [token]);
  if (!hasState) return <Waiting what="Connecting to the appliance" fills />;
  return (
    <Frame>
      <Suspense fallback={<Waiting />}>
        <Switch>
          <Route path="/" component={Dashboard} />
          {Object.entries(pages).map(([path, page]) => (
            <Route key={path} path={path} component={page} />
          ))}
          <Route>
            <Redirect to="/" replace />
          </Route>
        </Switch>
      </Suspense>
    </Frame>
  );
}
