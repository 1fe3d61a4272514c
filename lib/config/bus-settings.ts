// The settings of what processes talk over, and of the journal that is kept there.

import { KNOWN_VERSIONS } from '../wire/versions.js'
import { count } from './door-settings.js'
import type { SettingName } from './schema.js'
import type { Setting } from './settings.js'

export const BUS_SETTINGS = {
  nats: {
    wants: 'nats://host:port, or several with commas',
    help: 'use this NATS server instead of a private one',
    value: 'URL',
    env: 'NATS_URL',
  },
  natsCreds: {
    wants: 'the path of a .creds file',
    help: 'credentials for that server',
    value: 'FILE',
    env: 'NATS_CREDS',
  },
  natsUser: {
    wants: 'a name',
    help: 'user of that server, where its URL names none; the password is NATS_PASSWORD',
    value: 'NAME',
    env: 'NATS_USER',
  },
  natsPassword: { wants: 'a password', help: 'of that user', env: 'NATS_PASSWORD', isSecret: true },
  natsTlsCa: {
    wants: 'the path of a PEM file',
    help: 'certificates by which that server is trusted, over TLS (tls:// alone: the well-known ones)',
    value: 'FILE',
    env: 'BANYAN_NATS_TLS_CA',
  },
  natsTlsCert: {
    wants: 'the path of a PEM file',
    help: 'certificate to show that server',
    value: 'FILE',
    env: 'BANYAN_NATS_TLS_CERT',
  },
  natsTlsKey: {
    wants: 'the path of a PEM file',
    help: 'key of that certificate',
    value: 'FILE',
    env: 'BANYAN_NATS_TLS_KEY',
  },
  natsWaitSeconds: {
    wants: count(0, 3_600),
    help: 'a server that does not answer yet, or whose JetStream has no leader yet, is tried for N seconds',
    value: 'N',
    env: 'BANYAN_NATS_WAIT_SECONDS',
  },
  linkHost: {
    wants: 'an address of this machine, or off',
    help: 'where other processes reach this one directly (default: 127.0.0.1), or off: everything through NATS',
    value: 'HOST',
    env: 'BANYAN_LINK_HOST',
  },
  linkPort: {
    wants: count(0, 65_535),
    help: 'port for that, 0: any free one (default; always under up)',
    value: 'PORT',
    env: 'BANYAN_LINK_PORT',
  },
  wireVersion: {
    wants: count(KNOWN_VERSIONS.lowest, KNOWN_VERSIONS.highest),
    help: `highest version of the frame to speak, for rolling upgrades; all are read (default: ${KNOWN_VERSIONS.highest})`,
    value: 'N',
    env: 'BANYAN_WIRE_VERSION',
  },
  journal: {
    wants: 'the path of a folder, auto or off',
    help: 'keep accepted requests in DIR, so that they outlive their router and the cluster; or auto, off',
    value: 'DIR',
    env: 'BANYAN_JOURNAL',
  },
  journalReplicas: {
    wants: count(1, 5),
    help: 'NATS servers that keep each record of the journal (default: 3 of a cluster if there are, else 1)',
    value: 'N',
    env: 'BANYAN_JOURNAL_REPLICAS',
  },
} as const satisfies Partial<Record<SettingName, Setting>>
