// What the dashboard's pages do beside standing there: they stay fresh, filter by themselves,
// and do what a button says without being left.

import "./panels.js";
import "./filters.js";
import "./selection.js";
import "./acts.js";
