// The command `deploy` and its flags.

import type { Command } from 'commander'
import { collect, type Flags } from '../cluster-flags.js'
import { parseWhole } from '../parse.js'
import { usageError } from '../report-error.js'

type Wire = (run: (flags: Flags, ...words: string[]) => Promise<number>) => (...passed: unknown[]) => Promise<void>

const EXAMPLES = `
Examples:
  banyan deploy plan models/demo --nodes 3 --node-cpus 4 --node-memory 16Gi
  banyan deploy plan ./qwen3-30b-a3b --nodes 8 --weights int4 --streams 16 --context 2048
  banyan deploy plan ./model --nodes 2:name=gpu,gpus=1,gpu-memory=24Gi --nodes 4:name=cpu,cpus=32 --device webgpu

MODEL is a folder or a config.json; no weights are needed. Memory is 64Gi or 16G, rates are 200GB/s or (in bits) 10Gb/s.
What does not fit is refused with its arithmetic and with what would fit.
`

export function addDeploy(program: Command, runs: Wire): void {
  const command = program
    .command('deploy')
    .description('a cluster on Kubernetes: deploy plan MODEL --nodes …')
    .argument('[WHAT]')
    .action((what?: string) => {
      throw usageError(`deploy: want plan, found ${what ?? 'nothing'}`)
    })
  command
    .command('plan <MODEL>')
    .description('workers, memory and expected time per token for these nodes, and the overlay that makes them')
    .option<readonly string[]>(
      '--nodes <N[:LIST]>',
      'nodes: 4, or 4:cpus=16,memory=64Gi,…; again for another kind',
      (item, before) => collect(item, before),
    )
    .option('--node-cpus <N>', 'processors of a node (default: 16)')
    .option('--node-memory <SIZE>', 'memory of a node (default: 64Gi)')
    .option('--node-bandwidth <RATE>', 'memory reads of a node (default: 16GB/s a processor, 200GB/s at most)')
    .option('--node-network <RATE>', 'network of a node (default: 10Gb/s)')
    .option('--node-gpus <N>', 'GPUs of a node (default: 0)')
    .option('--gpu-memory <SIZE>', 'memory of a GPU (default: 24Gi)')
    .option('--gpu-bandwidth <RATE>', 'memory reads of a GPU (default: 800GB/s)')
    .option('--gpu-compute <RATE>', 'products of a GPU (default: 20TFLOPS)')
    .option('--weights <FORMAT>', 'f32, f16, int8, int4, int8-auto or int4-auto (default: int8)')
    .option('--kv-format <FORMAT>', 'f32 or f16: how attention workers keep KV (default: f32)')
    .option('--device <DEVICE>', 'cpu, webgpu or cuda; a pool without GPUs stays on processors (default: cpu)')
    .option(
      '--replicas <N>',
      'expert workers that hold each shard (default: 2 where they fit)',
      parseWhole('--replicas'),
    )
    .option('--streams <N>', 'streams at once (default: as many as time and memory allow)', parseWhole('--streams'))
    .option(
      '--context <TOKENS>',
      'tokens of each, prompt and answer (default: 4096 or what the model can)',
      parseWhole('--context'),
    )
    .option('--tpot-ms <N>', 'time per token of a stream at most (default: 150)', parseWhole('--tpot-ms'))
    .option('--image <IMAGE>', 'image with tag or digest instead of banyan:0.1.0')
    .option('--model-uri <URL>', 'pods fetch the model from there (default: a volume that holds it)')
    .option('--model-sums <FILE>', 'sha256sum of its files (default: MODEL/SHA256SUMS)')
    .option('--base <DIR>', 'manifests to build on (default: deploy/k8s/base)')
    .option('--out <DIR>', 'folder to write (default: deploy/k8s/overlays/plan-MODEL)')
    .option('--force', 'write into a folder that holds other files')
    .option('--json', 'print the plan as JSON')
    .addHelpText('after', EXAMPLES)
    .action(runs(async (flags, model = '') => (await import('./plan-command.js')).deployPlan(model, flags)))
}
