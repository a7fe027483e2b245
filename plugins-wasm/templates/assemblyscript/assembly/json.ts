// As much JSON as a small plugin needs: the numbers of one flat object. For more, add a package such
// as `json-as`.

/** Behind the text that begins at `at`, with its opening quote. */
function behindText(json: string, at: i32): i32 {
  for (at++; at < json.length && json.charAt(at) != '"'; at++) {
    if (json.charAt(at) == "\\") at++;
  }
  return at + 1;
}

function behindBlanks(json: string, at: i32): i32 {
  while (at < json.length && " \n\r\t".includes(json.charAt(at))) at++;
  return at;
}

/** The number under a name of the outermost object; NaN where there is none. */
export function numberOf(json: string, name: string): f64 {
  let depth = 0;
  for (let at = 0; at < json.length; ) {
    const sign = json.charAt(at);
    if (sign == "{" || sign == "[") depth++;
    if (sign == "}" || sign == "]") depth--;
    if (sign != '"') {
      at++;
      continue;
    }
    const begin = at + 1;
    const end = behindText(json, at);
    at = behindBlanks(json, end);
    if (depth != 1 || json.charAt(at) != ":" || json.substring(begin, end - 1) != name) continue;
    at = behindBlanks(json, at + 1);
    const first = json.charAt(at);
    return first == "-" || (first >= "0" && first <= "9") ? parseFloat(json.substring(at)) : NaN;
  }
  return NaN;
}
