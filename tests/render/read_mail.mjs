// Reads messages (a line of base64 each) from standard input and says what mailparser sees in them, a line of JSON each.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const { simpleParser } = createRequire(import.meta.url)("mailparser");

for await (const line of createInterface({ input: process.stdin })) {
  const mail = await simpleParser(Buffer.from(line, "base64"), { skipHtmlToText: true, skipTextToHtml: true, skipImageLinks: true });
  const people = (field) => (field ? field.value.map(({ name, address }) => [name, address]) : []);
  console.log(
    JSON.stringify({
      subject: mail.subject ?? "",
      from: people(mail.from),
      to: people(mail.to),
      cc: people(mail.cc),
      replyTo: people(mail.replyTo),
      text: mail.text ?? null,
      html: mail.html || null,
      attachments: mail.attachments.map((part) => ({
        filename: part.filename ?? null,
        type: part.contentType,
        cid: part.cid ?? null,
        related: part.related ?? false,
        content: part.content.toString("base64"),
      })),
    }),
  );
}
