/** Texts to start from, with what people hold them to be under this definition, and how models get them wrong. */
export const EXAMPLES = [
  {
    title: "Plain cases",
    rows: [
      { text: "Thanks for the recipe, the soup came out wonderfully.", label: "noHate", kind: "everyday talk" },
      { text: "Immigrants are vermin and should all be driven out.", label: "hate", kind: "dehumanising a group" },
    ],
  },
  {
    title: "Where such models often go wrong",
    rows: [
      { text: "I hate you", label: "noHate", kind: "one person, no protected group" },
      { text: "I hate women", label: "hate", kind: "a group in three words" },
      { text: "I would never say that I hate Muslims.", label: "noHate", kind: "negated hate" },
      {
        text: "Whoever wrote “gays are sick” should be ashamed of it.",
        label: "noHate",
        kind: "counter-speech that quotes hate",
      },
      { text: "My wife is a proud Black woman from Nigeria.", label: "noHate", kind: "neutral mention of a group" },
      { text: "This bloody printer, I could kill it.", label: "noHate", kind: "swearing at a thing" },
      { text: "w0men are to dumb too vote, allways were", label: "hate", kind: "misspelt on purpose" },
    ],
  },
];

/** The example with exactly this text, or undefined. */
export const findExample = (text) => EXAMPLES.flatMap(({ rows }) => rows).find((row) => row.text === text);
