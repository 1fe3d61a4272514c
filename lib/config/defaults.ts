// What every setting is where nobody says otherwise.

import { KNOWN_VERSIONS } from '../wire/versions.js'

/** What a setting is without flag, environment and file; the model and the cores are the machine's and passed in. */
export function defaultsFor(machine: {
  readonly model?: string | undefined
  readonly cores: number
  readonly costModelFile?: string | undefined
  readonly weightCache?: string | undefined
}): Readonly<Record<string, unknown>> {
  return {
    ...(machine.model === undefined ? {} : { model: machine.model }),
    ...(machine.costModelFile === undefined ? {} : { costModelFile: machine.costModelFile }),
    ...(machine.weightCache === undefined ? {} : { weightCache: machine.weightCache }),
    weights: 'int8',
    prefixCache: 'on',
    microBatches: 1,
    hedge: 'on',
    machineCode: 'on',
    device: 'auto',
    threads: machine.cores,
    routers: 1,
    attention: 1,
    experts: 2,
    replicas: 1,
    drafters: 1,
    rebalance: 'on',
    transport: 'auto',
    cluster: 'main',
    linkHost: '127.0.0.1',
    linkPort: 0,
    wireVersion: KNOWN_VERSIONS.highest,
    host: '127.0.0.1',
    http: 8000,
    grpc: 50_051,
    apiKey: [],
    draft: 'auto',
    draftNoise: 'shared',
    draftSharing: 'key',
    draftAhead: 'auto',
    acceptance: 'exact',
    maxTreeNodes: 48,
    kvTokens: 65_536,
    kvFormat: 'f32',
    tokenBudget: 512,
    prefillChunk: 256,
    maxRunning: 64,
    maxWaiting: 1024,
    metricsHost: '127.0.0.1',
    traceExperts: 'off',
    journal: 'auto',
    drainSeconds: 30,
    natsWaitSeconds: 0,
    logLevel: 'info',
    otelServiceName: 'banyan',
    otelSampler: 'parentbased_always_on',
    otelSamplerArg: 1,
  }
}
