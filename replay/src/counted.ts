// Numbers of things in words for people.

/** '1 request', '2 requests'. */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`

/** The verb behind them. */
export const wereOrWas = (count: number): string => (count === 1 ? 'was' : 'were')
