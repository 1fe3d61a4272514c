// Byte-level BPE writes every byte as one printable character (GPT-2's published table): the printable bytes of
// Latin-1 stand for themselves, the others for characters from U+0100 on.

function charactersOfBytes(): readonly string[] {
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff)
  let next = 0x100
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++))
}

const CHARACTERS = charactersOfBytes()
const BYTES = new Map(CHARACTERS.map((character, byte) => [character, byte]))
const UNITS = Uint16Array.from(CHARACTERS, (character) => character.charCodeAt(0))

/** The bytes that a byte-level token stands for; one with a character outside the table is text that stands for itself. */
export function byteLevelBytes(piece: string): Uint8Array {
  const bytes = new Uint8Array(piece.length)
  for (let i = 0; i < piece.length; i++) {
    const byte = BYTES.get(piece.charAt(i))
    if (byte === undefined) return Buffer.from(piece)
    bytes[i] = byte
  }
  return bytes
}

const LONG = 1024 // bytes

/** Without a string per byte. */
function longText(bytes: Uint8Array): string {
  const units = new Uint16Array(bytes.length)
  for (let i = 0; i < bytes.length; i++) units[i] = UNITS[bytes[i]!]!
  return Buffer.from(units.buffer).toString('utf16le')
}

/** The text's UTF-8 bytes, each as its character. */
export function byteLevelText(text: string): string {
  const bytes = Buffer.from(text)
  if (bytes.length > LONG) return longText(bytes)
  let written = ''
  for (const byte of bytes) written += CHARACTERS[byte]!
  return written
}
