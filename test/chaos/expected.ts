// What every request must be answered with: the answers of a cluster in one process, each asked alone, without drafts.

import { upCli } from '../helpers/cli.js'
import type { Answer } from './answer.js'
import { openDoors } from './doors.js'
import type { ChaosRequest } from './requests.js'

/** Throws where a request is not answered. */
export async function expectedAnswers(requests: readonly ChaosRequest[]): Promise<Answer[]> {
  const cluster = await upCli(['--transport', 'local', '--experts', '1', '--drafters', '0', '--draft', 'off'])
  const doors = openDoors({ grpc: [cluster.ready.grpc], http: [cluster.ready.http] })
  try {
    const answers: Answer[] = []
    for (const [i, request] of requests.entries()) {
      const answer = await doors.ask(request, { id: `expected-${i}`, onTokens: () => undefined })
      if (answer.problem !== undefined) throw new Error(`request ${request.name}: ${answer.problem}`)
      answers.push(answer)
    }
    return answers
  } finally {
    doors.close()
    await cluster.end()
  }
}
