// A bounded queue in two lanes: system messages go before every waiting user message.

export interface Mailbox<T> {
  readonly size: number
  /** False where the lane is full. */
  push(item: T, isSystem: boolean): boolean
  shift(): T | undefined
  /** Empties both lanes. */
  drain(): T[]
}

export function createMailbox<T>(capacity: number): Mailbox<T> {
  let system: T[] = []
  let user: T[] = []
  return {
    get size() {
      return system.length + user.length
    },
    push: (item, isSystem) => {
      const lane = isSystem ? system : user
      if (lane.length >= capacity) return false
      lane.push(item)
      return true
    },
    shift: () => system.shift() ?? user.shift(),
    drain: () => {
      const all = [...system, ...user]
      system = []
      user = []
      return all
    },
  }
}
