// Dates as templates ask for them: Python's directives, in English and UTC.

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const MONTHS = [
  ...['January', 'February', 'March', 'April', 'May', 'June', 'July'],
  ...['August', 'September', 'October', 'November', 'December'],
]
const DAY_MS = 86_400_000

const DIRECTIVES: Readonly<Record<string, (date: Date) => string | number>> = {
  Y: (date) => date.getUTCFullYear(),
  y: (date) => date.getUTCFullYear() % 100,
  m: (date) => date.getUTCMonth() + 1,
  d: (date) => date.getUTCDate(),
  H: (date) => date.getUTCHours(),
  I: (date) => date.getUTCHours() % 12 || 12,
  M: (date) => date.getUTCMinutes(),
  S: (date) => date.getUTCSeconds(),
  j: (date) => Math.floor((date.getTime() - Date.UTC(date.getUTCFullYear(), 0)) / DAY_MS) + 1,
  B: (date) => MONTHS[date.getUTCMonth()] ?? '',
  b: (date) => (MONTHS[date.getUTCMonth()] ?? '').slice(0, 3),
  A: (date) => DAYS[date.getUTCDay()] ?? '',
  a: (date) => (DAYS[date.getUTCDay()] ?? '').slice(0, 3),
  p: (date) => (date.getUTCHours() < 12 ? 'AM' : 'PM'),
  '%': () => '%',
}

/** Numbers have two digits (the day of the year three) unless a minus asks for as few as there are; others stay. */
export function strftime(format: string, date: Date): string {
  return format.replace(/%(-?)([A-Za-z%])/g, (directive, minus: string, letter: string) => {
    const value = DIRECTIVES[letter]?.(date)
    if (value === undefined) return directive
    return typeof value === 'string' || minus === '-'
      ? String(value)
      : String(value).padStart(letter === 'j' ? 3 : 2, '0')
  })
}
