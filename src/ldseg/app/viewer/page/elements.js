// Elements of the page and numbers as people read them.

export const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

export const byId = (id) => document.getElementById(id);

export const counted = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

export const short = (number) => Number(number.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 3 });

export const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
