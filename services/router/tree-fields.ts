// A step's token tree under the names that both doors send it by.

import type { StepTree } from './engine.js'

export const treeFields = ({ nodes, accepted, proposed, price, ...times }: StepTree): Record<string, unknown> => ({
  nodes: nodes.map(({ token, text, parent, value, sources }) => ({ token, text, parent, value, sources })),
  accepted,
  proposed,
  price,
  plain_ms: times.plainMs,
  predicted_ms: times.predictedMs,
  step_ms: times.stepMs,
  draft_ms: times.draftMs,
})
